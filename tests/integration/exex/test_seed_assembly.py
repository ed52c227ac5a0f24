import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.events import LiquidityChange, Swap, Sync
from protocols.types import PoolId
from settings import Settings
from streams.bridge.process import SeedUnverified, run
from streams.exex.assembly import FedBlock, FedReorg, Step
from streams.exex.seed import PoolEvent, Reorg, SeedMessage
from streams.exex.seed_assembly import SeedAssembly
from tests.support.bridge_harness import V2_POOLS, V3_POOLS, Updates, stage

POOL, OTHER = V3_POOLS
HASH = "0x" + 64 * "1"


def event(number: int, pool: PoolId = POOL, liquidity: int = 1) -> PoolEvent:
    return PoolEvent(pool, number, Swap(2**96, liquidity, 0))


def block(number: int, *events: PoolEvent, part: int = 0) -> FedBlock:
    updates: Updates = {}
    for told in events:
        updates[told.pool] = (*updates.get(told.pool, ()), told.event)
    return FedBlock(number, None, None, updates, part)


def assembled(messages: list[SeedMessage]) -> list[Step]:
    assembly = SeedAssembly()
    return [step for message in messages for step in assembly.receive(message)] + assembly.flush()


def test_a_block_is_over_when_the_next_one_begins() -> None:
    assembly = SeedAssembly()

    assert assembly.receive(event(5)) == []
    assert assembly.receive(event(5, OTHER)) == []
    assert assembly.receive(event(7)) == [block(5, event(5), event(5, OTHER))]


def test_a_block_that_silence_cut_has_further_parts() -> None:
    assembly = SeedAssembly()
    assembly.receive(event(5))

    assert assembly.flush() == [block(5, event(5))]
    assert assembly.flush() == []
    assembly.receive(event(5, liquidity=2))
    assert assembly.receive(event(6)) == [block(5, event(5, liquidity=2), part=1)]
    assert assembly.flush() == [block(6, event(6))]


def test_the_ancestor_is_the_block_before_the_lowest_that_is_named() -> None:
    messages: list[SeedMessage] = [event(9), Reorg(9, HASH), Reorg(7, HASH), Reorg(8, HASH), event(7)]

    assert assembled(messages) == [block(9, event(9)), FedReorg(6, ()), block(7, event(7))]


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30))
def test_no_event_is_lost_or_told_twice(steps: list[tuple[int, bool]]) -> None:
    assembly, told, number, seen = SeedAssembly(), [], 1, []
    for place, (advance, silent) in enumerate(steps):
        number += advance // 4
        told.append(event(number, liquidity=place))
        seen += assembly.receive(told[-1])
        if silent:
            seen += assembly.flush()
    seen += assembly.flush()

    blocks = [step for step in seen if isinstance(step, FedBlock)]
    assert [e for b in blocks for e in b.updates[POOL]] == [e.event for e in told]
    assert len({(b.number, b.part) for b in blocks}) == len(blocks)


def wire(number: int, updates: Updates) -> bytes:
    return b"".join(_message(number, pool, e) for pool, events in updates.items() for e in events if pool in V3_POOLS)


def _message(number: int, pool: PoolId, told: object) -> bytes:
    place = struct.pack("<Q20sQ", 20, bytes.fromhex(pool[2:]), number)
    match told:
        case Swap(price, liquidity, tick):
            values = struct.pack("<Q32si16s", 32, price.to_bytes(32, "big"), tick, liquidity.to_bytes(16, "little"))
            return struct.pack("<I", 2) + place + values
        case LiquidityChange(lower, upper, delta):
            values = struct.pack("<ii16s", lower, upper, abs(delta).to_bytes(16, "little"))
            return struct.pack("<I", 0 if delta > 0 else 1) + place + values
    raise ValueError(told)


def wire_reorg(number: int) -> bytes:
    return struct.pack("<IQQ32s", 3, number, 32, b"\x11" * 32)


@pytest.fixture
def settings(kafka: str, nats: str, chain_name: str, tmp_path: Path, anvil: Callable[..., str]) -> Settings:
    return Settings(
        chain=chain_name,
        kafka=kafka,
        nats=nats,
        rpc=anvil(),
        exex_socket=tmp_path / "exex.sock",
        exex_wire="seed",
        partitions=3,
        bridge_patience_s=2,
        bridge_silence_s=1,
    )


@pytest.mark.servers
async def test_over_the_seed_wire_the_topic_is_the_chain(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async with stage(settings, settings.rpc) as on:
        await on.feed.listened()
        first = await on.chain.mine(*on.chain.some())
        await on.feed.write(wire(first.number, await on.chain.updates(first)))
        await on.topic.until(first)
        fork = await on.chain.snapshot()
        old = await on.chain.busy(3)
        for header in old:
            await on.feed.write(wire(header.number, await on.chain.updates(header)))
        await on.topic.until(old[-1])
        await on.chain.revert(fork)
        for header in reversed(old):
            await on.feed.write(wire_reorg(header.number))
        new = await on.chain.busy(4)
        for header in new:
            await on.feed.write(wire(header.number, await on.chain.updates(header)))
        await on.topic.until(new[-1])
        quiet = await on.chain.mine((V2_POOLS[0], Sync(7, 7)))

        await on.topic.until(quiet)

        await on.right(first.number)
        assert on.topic.gaps == []
        assert on.topic.reorgs == [first.number]
        assert "feed and node differ" not in caplog.text


async def test_the_seed_wire_is_refused_without_the_nodes_word() -> None:
    with pytest.raises(SeedUnverified, match="needs ARENA_BRIDGE_VERIFY=true"):
        await run(Settings(exex_wire="seed", bridge_verify=False))
