"""`./arena whitelist` as an operator runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.files import ROOT
from tests.support.whitelist_chain import WhitelistChain

Completed = subprocess.CompletedProcess[str]


def whitelist(setup: WhitelistChain, directory: Path, path: Path, *arguments: str) -> Completed:
    environment = {
        "ARENA_RPC": setup.chain.rpc.url,
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


def built(setup: WhitelistChain, directory: Path, path: Path) -> dict[str, Any]:
    told = whitelist(setup, directory, path, "build", "--json")
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))
