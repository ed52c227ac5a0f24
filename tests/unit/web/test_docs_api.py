"""The examples of docs/api.md, run as they are written."""

import json
import re
import shlex
from typing import Any

import aiohttp
import msgspec

from tables.chain import Finality
from tests.support.files import ROOT
from tests.support.web_cluster import Cluster
from web.stream.partitions import PATH as BETWEEN_WORKERS

DOCUMENT = (ROOT / "docs" / "api.md").read_text()
SERVER = "http://localhost:6066"
REQUESTS = re.findall(r"```sh\n(curl [^\n]*)\n```\n```json\n(.*?)```", DOCUMENT, re.DOTALL)


async def test_every_request_is_answered_as_it_says() -> None:
    cluster = Cluster()
    await cluster.start()
    for processor in cluster.processors:
        for partition in processor.partitions.values():
            partition.chain = msgspec.structs.replace(partition.chain, finality=Finality(safe=2, finalized=1))
    try:
        for command, expected in REQUESTS:
            answer = await _curl(cluster, shlex.split(command)[1:])
            assert _only(answer, json.loads(expected)) == json.loads(expected), command
    finally:
        await cluster.stop()
    assert len(REQUESTS) == 11


async def test_every_route_is_described() -> None:
    documents = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    cluster = Cluster()
    await cluster.start()
    await cluster.stop()

    routes = {route.path for api in cluster.apis for route in api.routes()}
    routes = {route for route in routes if not route.startswith(BETWEEN_WORKERS)}

    assert {route for route in routes if route.rpartition("}")[2] not in documents} == set()


async def _curl(cluster: Cluster, arguments: list[str]) -> Any:
    body = arguments[1] if arguments[0] == "-d" else None
    url = arguments[-1].replace(SERVER, cluster.owners[0].url)
    async with aiohttp.ClientSession() as session, session.request("POST" if body else "GET", url, data=body) as answer:
        return await answer.json()


def _only(answer: Any, fields: Any) -> Any:
    """Of the answer only the fields that the document shows, and any text where it shows none."""
    if isinstance(fields, dict):
        return {name: _only(answer[name], value) for name, value in fields.items()}
    if isinstance(fields, list):
        assert len(answer) == len(fields)
        return [_only(each, of) for each, of in zip(answer, fields, strict=True)]
    return "…" if fields == "…" and answer else answer
