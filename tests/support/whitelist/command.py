"""Builds of the whitelist in tests: in this process, or by `./arena whitelist` as an operator runs it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from settings import Settings
from tests.support.files import ROOT
from tests.support.whitelist.chain import WhitelistChain
from whitelist.publication.json_report import build_as_json
from whitelist.service import build_once

CHAIN = "test"
Completed = subprocess.CompletedProcess[str]


def built(setup: WhitelistChain, directory: Path, path: Path) -> dict[str, Any]:
    """What `./arena whitelist build --json` prints, without the time that a process takes to start."""
    settings = Settings(rpc=setup.chain.rpc.url, data=directory, chain=CHAIN, whitelist_config=path)
    made = asyncio.run(build_once(settings))
    return dict(json.loads(json.dumps(build_as_json(made))))


def whitelist(setup: WhitelistChain, directory: Path, path: Path, *arguments: str) -> Completed:
    environment = {
        "ARENA_RPC": setup.chain.rpc.url,
        "ARENA_DATA": str(directory),
        "ARENA_CHAIN": CHAIN,
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
