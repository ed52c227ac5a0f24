"""The feed after a restart: it continues with the block after the last emitted, over reorgs and damaged files."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.devnet.chain.evm import Rpc
from lab.devnet.chain.world import World
from settings import Settings
from streams.nats.whitelist_encoder import encode_add
from streams.secret_url import SecretUrl
from tests.support.feed_harness import Client, blocks_on_chain, client, envelope, feeding, mined, publisher
from tests.support.waiting import until

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(anvil: Callable[..., str], nats: str, chain_name: str, tmp_path: Path) -> Settings:
    return Settings(rpc=anvil(), nats=nats, chain=chain_name, exex_socket=tmp_path / "exex.sock", data=tmp_path)


@pytest.fixture
async def world(settings: Settings) -> World:
    return await asyncio.to_thread(World, str(settings.rpc), 5)


async def run_before(settings: Settings, world: World, blocks: int = 6) -> tuple[int, int]:
    """The first block emitted with the whole list, and the last."""
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in world.pools]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(world.pools)
            first = await mined(world, 1)
            last = await mined(world, blocks - 1)
            await listener.until_tip(last)
    return first, last


async def run_after(settings: Settings, world: World, more: int = 2) -> Client:
    """Without a publisher: the feed has only its files."""
    async with feeding(settings), client(settings.exex_socket) as listener:
        await listener.until_tip(world.chain.tip.number)
        await listener.until_tip(await mined(world, more))
        return listener


async def test_it_continues_after_the_last_block_and_with_the_filters_it_had(settings: Settings, world: World) -> None:
    _, last = await run_before(settings, world)
    await mined(world, 7)

    listener = await run_after(settings, world)

    pools = [pool.id for pool in world.pools]
    assert listener.messages[0].stream_seq == 1
    assert listener.chain() == blocks_on_chain(Rpc(str(settings.rpc)), last + 1, world.chain.tip.number, pools)


@pytest.mark.parametrize("seed", range(4))
async def test_a_reorg_during_the_restart_is_emitted_as_one(settings: Settings, world: World, seed: int) -> None:
    dice = random.Random(seed)
    first, last = await run_before(settings, world, 9)
    await mined(world, dice.randint(0, 3))
    for _ in range(dice.randint(1, 2)):
        depth = dice.randint(1, world.chain.tip.number - first - 1)
        await asyncio.to_thread(world.reorg, depth, longer_by=dice.randint(-1, 2))

    listener = await run_after(settings, world)

    blocks, pools = listener.chain(), [pool.id for pool in world.pools]
    assert blocks[0].number <= last + 1
    assert blocks == blocks_on_chain(Rpc(str(settings.rpc)), blocks[0].number, world.chain.tip.number, pools)


async def test_nothing_is_emitted_twice(settings: Settings, world: World) -> None:
    _, last = await run_before(settings, world)

    async with feeding(settings), client(settings.exex_socket) as listener:
        await listener.until_tip(await mined(world, 1))

    assert [block.number for block in listener.chain()] == [last + 1]


@pytest.mark.parametrize("seed", range(8))
async def test_damaged_files_never_make_it_emit_a_wrong_block(settings: Settings, world: World, seed: int) -> None:
    dice = random.Random(seed)
    await run_before(settings, world)
    (journal,) = settings.data.glob("*.journal")
    content = bytearray(journal.read_bytes())
    if seed % 2:
        content = content[: dice.randrange(len(content))]
    for _ in range(dice.randint(0, 3)):
        content[dice.randrange(len(content) or 1) :][:1] = dice.randbytes(1)
        if content:
            content[dice.randrange(len(content))] = dice.randrange(256)
    journal.write_bytes(content)
    await mined(world, 2)

    listener = await run_after(settings, world)

    blocks, pools = listener.chain(), [pool.id for pool in world.pools]
    assert blocks == blocks_on_chain(Rpc(str(settings.rpc)), blocks[0].number, world.chain.tip.number, pools)


async def test_the_journal_of_another_chain_is_ignored(
    settings: Settings, world: World, anvil: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    await run_before(settings, world)
    other = settings.model_copy(update={"rpc": SecretUrl(anvil("--timestamp", "1700000000"))})
    elsewhere = await asyncio.to_thread(World, str(other.rpc), 6)

    async with feeding(other), client(other.exex_socket) as listener:
        last = await mined(elsewhere, 1)
        await listener.until_tip(last)

    assert listener.chain()[0].number in (last - 1, last)
    assert "belongs to another chain" in caplog.text


async def test_after_more_blocks_than_it_keeps_it_starts_at_the_head(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await run_before(settings, world)
    monkeypatch.setattr("streams.feed.emitted_chain.EmittedChain.__init__.__defaults__", (4,))
    last = await mined(world, 8)

    async with feeding(settings):
        async with client(settings.exex_socket) as returning:
            await until(lambda: returning.ended)
        async with client(settings.exex_socket) as listener:
            await listener.until_tip(await mined(world, 1))

    assert returning.messages == []
    assert listener.chain()[0].number in (last, last + 1)
    assert "4 blocks or more lie between" in caplog.text


async def test_the_first_block_of_the_active_filters_is_kept_and_true(settings: Settings, world: World) -> None:
    half, rest = world.pools[::2], world.pools[1::2]
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in half]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(half)
            await listener.until_tip(await mined(world, 3))
            await publishing.publish(encode_add(envelope(settings.chain), [pool.metadata for pool in rest], 1 << 20))
            for _ in range(20):
                await mined(world, 1)
            await filter_log.until_set(world.pools)
            await listener.until_tip(await mined(world, 3))
            blocks = listener.chain()

    (kept,) = settings.data.glob("*.list")
    in_force = json.loads(kept.read_bytes())
    from_block = in_force["from_block"]
    assert in_force["watched"]["pools"].keys() == {pool.id for pool in world.pools}
    late = {pool.id for pool in rest}
    assert not any(pool in late for block in blocks if block.number < from_block for _, _, pool, _ in block.updates)
    after = [block for block in blocks if block.number >= from_block]
    assert after == blocks_on_chain(
        Rpc(str(settings.rpc)), from_block, world.chain.tip.number, [pool.id for pool in world.pools]
    )
