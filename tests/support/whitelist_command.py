"""`./arena whitelist` as an operator runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.files import ROOT
from tests.support.whitelist_chain import Place


def whitelist(found: Place, directory: Path, path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        "ARENA_RPC": found.chain.rpc.url,
        "ARENA_DATA": str(directory),
        "ARENA_CHAIN": "test",
        "ARENA_WHITELIST_CONFIG": str(path),
    }
    return subprocess.run(
        [sys.executable, "-m", "commands", "whitelist", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def built(found: Place, directory: Path, path: Path) -> dict[str, Any]:
    told = whitelist(found, directory, path, "build", "--json")
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))
