"""The demo's whitelist: `./arena whitelist` finds the pools in the factories' logs and chooses them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.devnet.chain.contracts import QUIET_HOOKS, Contracts
from lab.devnet.servers.system import environment_of
from settings import Settings


class NotPublished(Exception):
    """`./arena whitelist publish` failed."""


def configuration(contracts: Contracts, directory: Path) -> Path:
    """Every pool of the demo's factories counts, however shallow, and at whatever price its traffic left it."""
    factories = {
        contracts.v2_factory: "v2",
        contracts.v3_factory: "v3",
        contracts.pancake_factory: "v3",
        contracts.manager: "v4",
    }
    tables = [
        f'hooks = ["{QUIET_HOOKS}"]\nprice_depth_usd = 0\nprice_tolerance = 1e300\nremoval_share = 1.0',
        "[thresholds_usd]\nv2 = 0\nv3 = 0\nv4 = 0",
        *(
            f'[[trusted]]\naddress = "{token}"\nsymbol = "T{number}"' + ("\nusd = 1.0" if number == 0 else "")
            for number, token in enumerate(contracts.tokens)
        ),
        *(f'[[factories]]\nprotocol = "{protocol}"\naddress = "{at}"' for at, protocol in factories.items()),
    ]
    path = directory / "whitelist.toml"
    path.write_text("\n\n".join(tables) + "\n")
    return path


def publish(settings: Settings) -> dict[str, Any]:
    """What it says it published. Raises NotPublished."""
    command = [sys.executable, "-m", "commands", "whitelist", "publish", "--json"]
    done = subprocess.run(command, env=environment_of(settings), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotPublished(f"the whitelist is not published: {done.stderr}")
    return dict(json.loads(done.stdout))
