"""Processes whose settings contradict the chain, or each other, end with a sentence instead of running on."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.devnet.servers.processes import free_port
from lab.devnet.servers.system import environment_of
from settings import Settings

pytestmark = pytest.mark.servers

WHITELIST = """
[[factories]]
protocol = "v2"
address = "0x5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f"
"""


@pytest.fixture
def settings(kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path) -> Settings:
    whitelist = tmp_path / "whitelist.toml"
    whitelist.write_text(WHITELIST)
    return Settings(
        chain=chain_name,
        kafka=kafka,
        nats=nats,
        rpc=anvil(),
        partitions=2,
        exex_socket=tmp_path / "exex.sock",
        data=tmp_path / "data",
        web_port=free_port(),
        whitelist_config=whitelist,
    )


def ended(command: list[str], environment: dict[str, str]) -> str:
    """The last line of a process that ends by itself with an error."""
    done = subprocess.run(
        [sys.executable, "-m", "commands", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", [["exex"], ["bridge"], ["scraper"], ["whitelist", "build"]])
def test_a_node_of_another_chain_than_the_settings_say_ends_the_process(settings: Settings, command: list[str]) -> None:
    said = ended(command, environment_of(settings) | {"ARENA_CHAIN_ID": "1"})

    assert said.endswith(f"the node at {settings.rpc} is of chain 31337, ARENA_CHAIN_ID says 1")


def test_a_subscription_of_another_chain_ends_the_feed(settings: Settings, anvil: Callable[..., str]) -> None:
    other = anvil("--chain-id", "10").replace("http", "ws")

    said = ended(["exex"], environment_of(settings) | {"ARENA_RPC_WS": other})

    assert said.endswith(f"the node at {other} is of chain 10, the node of ARENA_RPC says 31337")


@pytest.mark.parametrize("command", [["scraper"], ["worker"]])
def test_a_memory_that_does_not_reach_the_pin_is_refused_at_the_start(settings: Settings, command: list[str]) -> None:
    environment = environment_of(settings) | {"ARENA_SCRAPER_PIN": "finalized", "ARENA_MEMORY_BLOCKS": "64"}

    said = ended(command, environment)

    assert said.startswith("arena: ARENA_MEMORY_BLOCKS: 64 blocks do not reach back to finalized blocks")
