"""The examples of docs/quotes.md, run as they are written."""

import json
import re
import shlex
from typing import Any

from tests.support.files import ROOT
from tests.support.quotes.cluster import cluster

DOCUMENT = (ROOT / "docs" / "quotes.md").read_text()
SERVER = "http://localhost:6066"
REQUESTS = re.findall(r"```sh\n(curl [^\n]*)\n```\n```json\n(.*?)```", DOCUMENT, re.DOTALL)


async def test_every_request_gets_its_expected_answer() -> None:
    workers = cluster()
    await workers.start()
    try:
        for command, expected in REQUESTS:
            _, target, *options = shlex.split(command)
            path = target.removeprefix(SERVER)
            if options:
                _, answer = await workers.post(path, json.loads(options[1]))
            else:
                _, answer = await workers.get(path)
            assert _only(answer, json.loads(expected)) == json.loads(expected)
    finally:
        await workers.stop()
    assert len(REQUESTS) == 4


def test_the_python_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)

    exec(compile(example, "docs/quotes.md", "exec"), {})


def _only(answer: Any, fields: Any) -> Any:
    """Of the answer only the fields that the document shows."""
    if isinstance(fields, dict):
        return {name: _only(answer[name], value) for name, value in fields.items()}
    if isinstance(fields, list):
        assert len(answer) == len(fields)
        return [_only(each, of) for each, of in zip(answer, fields, strict=True)]
    return answer
