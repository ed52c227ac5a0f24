"""A bridge's settings on a chain of its own; files change what they need by `settings.model_copy`."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from settings import Settings
from tests.support.bridge.bridge_harness import BridgeSystem, bridge_system, list_pools
from tests.support.bridge.chain_topic import ChainTopic, chain_topic
from tests.support.bridge.emitting_chain import EmittingChain, emitting_chain


@pytest.fixture
def rpc(anvil: Callable[..., str]) -> str:
    return anvil()


@pytest.fixture
def settings(kafka: str, nats: str, chain_name: str, tmp_path: Path, rpc: str) -> Settings:
    return Settings(
        chain=chain_name,
        kafka=kafka,
        nats=nats,
        rpc=rpc,
        exex_socket=tmp_path / "exex.sock",
        partitions=3,
        bridge_patience_s=2,
        bridge_silence_s=60,
    )


@pytest.fixture
async def system(settings: Settings, rpc: str) -> AsyncIterator[BridgeSystem]:
    async with bridge_system(settings, rpc) as running:
        yield running


@pytest.fixture
async def chain(settings: Settings, rpc: str) -> AsyncIterator[EmittingChain]:
    """With the pools of the support's list on the topic."""
    await list_pools(settings)
    async with emitting_chain(rpc) as running:
        yield running


@pytest.fixture
async def topic(settings: Settings, chain: EmittingChain) -> AsyncIterator[ChainTopic]:
    async with chain_topic(settings) as read:
        yield read
