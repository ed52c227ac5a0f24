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
from tests.support.feed_harness import Client, client, feeding, mined, publisher, said, truth

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(anvil: Callable[..., str], nats: str, chain_name: str, tmp_path: Path) -> Settings:
    return Settings(rpc=anvil(), nats=nats, chain=chain_name, exex_socket=tmp_path / "exex.sock", data=tmp_path)


@pytest.fixture
async def world(settings: Settings) -> World:
    return await asyncio.to_thread(World, settings.rpc, 5)


async def told_before(settings: Settings, world: World, blocks: int = 6) -> tuple[int, int]:
    """The first block told with the whole list, and the last."""
    async with publisher(settings.nats, settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in world.pools]
        async with feeding(settings) as fed, client(settings.exex_socket) as listener:
            await fed.watching(world.pools)
            first = await mined(world, 1)
            last = await mined(world, blocks - 1)
            await listener.until_tip(last)
    return first, last


async def told_after(settings: Settings, world: World, more: int = 2) -> Client:
    """No list is said any more: the feed has only what it kept."""
    async with feeding(settings), client(settings.exex_socket) as listener:
        await listener.until_tip(world.chain.tip.number)
        await listener.until_tip(await mined(world, more))
        return listener


async def test_it_goes_on_with_the_block_after_the_last_and_with_the_list_it_had(
    settings: Settings, world: World
) -> None:
    _, last = await told_before(settings, world)
    await mined(world, 7)

    listener = await told_after(settings, world)

    pools = [pool.id for pool in world.pools]
    assert listener.messages[0].stream_seq == 1
    assert listener.chain() == truth(Rpc(settings.rpc), last + 1, world.chain.tip.number, pools)


@pytest.mark.parametrize("seed", range(4))
async def test_a_reorg_while_it_was_away_is_told_as_one(settings: Settings, world: World, seed: int) -> None:
    dice = random.Random(seed)
    first, last = await told_before(settings, world, 9)
    await mined(world, dice.randint(0, 3))
    for _ in range(dice.randint(1, 2)):
        depth = dice.randint(1, world.chain.tip.number - first - 1)
        await asyncio.to_thread(world.reorg, depth, longer_by=dice.randint(-1, 2))

    listener = await told_after(settings, world)

    told, pools = listener.chain(), [pool.id for pool in world.pools]
    assert told[0].number <= last + 1
    assert told == truth(Rpc(settings.rpc), told[0].number, world.chain.tip.number, pools)


async def test_nothing_is_told_again_where_nothing_happened(settings: Settings, world: World) -> None:
    _, last = await told_before(settings, world)

    async with feeding(settings), client(settings.exex_socket) as listener:
        await listener.until_tip(await mined(world, 1))

    assert [block.number for block in listener.chain()] == [last + 1]


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_its_files_hold_what_it_tells_is_right(settings: Settings, world: World, seed: int) -> None:
    dice = random.Random(seed)
    await told_before(settings, world)
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

    listener = await told_after(settings, world)

    told, pools = listener.chain(), [pool.id for pool in world.pools]
    assert told == truth(Rpc(settings.rpc), told[0].number, world.chain.tip.number, pools)


async def test_the_journal_of_another_chain_is_not_believed(
    settings: Settings, world: World, anvil: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    await told_before(settings, world)
    other = settings.model_copy(update={"rpc": anvil("--timestamp", "1700000000")})
    elsewhere = await asyncio.to_thread(World, other.rpc, 6)

    async with feeding(other), client(other.exex_socket) as listener:
        last = await mined(elsewhere, 1)
        await listener.until_tip(last)

    assert listener.chain()[0].number in (last - 1, last)
    assert "belongs to another chain" in caplog.text


async def test_away_for_longer_than_it_remembers_it_starts_at_the_head(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await told_before(settings, world)
    monkeypatch.setattr("streams.feed.emitted_chain.FedChain.__init__.__defaults__", (4,))
    last = await mined(world, 8)

    async with feeding(settings):
        async with client(settings.exex_socket) as returning:
            await returning.until(lambda: returning.ended)
        async with client(settings.exex_socket) as listener:
            await listener.until_tip(await mined(world, 1))

    assert returning.messages == []
    assert listener.chain()[0].number in (last, last + 1)
    assert "4 blocks or more lie between" in caplog.text


async def test_the_block_from_which_a_list_is_in_force_is_kept_and_true(settings: Settings, world: World) -> None:
    half, rest = world.pools[::2], world.pools[1::2]
    async with publisher(settings.nats, settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in half]
        async with feeding(settings) as fed, client(settings.exex_socket) as listener:
            await fed.watching(half)
            await listener.until_tip(await mined(world, 3))
            await publishing.say(encode_add(said(settings.chain), [pool.metadata for pool in rest], 1 << 20))
            for _ in range(20):
                await mined(world, 1)
            await fed.watching(world.pools)
            await listener.until_tip(await mined(world, 3))
            told = listener.chain()

    (kept,) = settings.data.glob("*.list")
    in_force = json.loads(kept.read_bytes())
    from_block = in_force["from_block"]
    assert in_force["watched"]["pools"].keys() == {pool.id for pool in world.pools}
    late = {pool.id for pool in rest}
    assert not any(pool in late for block in told if block.number < from_block for _, _, pool, _ in block.updates)
    after = [block for block in told if block.number >= from_block]
    assert after == truth(Rpc(settings.rpc), from_block, world.chain.tip.number, [pool.id for pool in world.pools])
