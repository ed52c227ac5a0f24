import asyncio
import json
import socket as sockets
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lab.devnet.chain.evm import Rpc
from lab.devnet.chain.world import ReorgKind, World
from protocols import v2
from protocols.concentrated import Price
from protocols.types import PoolId, PoolMetadata, Token
from settings import Settings
from streams.exex.control_messages import PoolFinal
from streams.nats.whitelist_encoder import OutgoingMessage, encode_add, encode_remove
from streams.secret_url import SecretUrl
from tests.support.feed_harness import blocks_on_chain, client, envelope, feeding, mined, publisher
from tests.support.rpc_proxy import Call, error, proxied
from tests.support.waiting import until

pytestmark = pytest.mark.servers

Anvil = Callable[..., str]


async def world_on(url: str, seed: int = 7) -> World:
    return await asyncio.to_thread(World, url, seed)


@pytest.fixture
def settings(anvil: Anvil, nats: str, chain_name: str, tmp_path: Path) -> Settings:
    return Settings(rpc=anvil(), nats=nats, chain=chain_name, exex_socket=tmp_path / "exex.sock", data=tmp_path)


@pytest.mark.parametrize("over", ["http", "ws", "rpc_ws"])
async def test_blocks_and_reorgs_of_every_depth_are_emitted_as_on_the_chain(settings: Settings, over: str) -> None:
    http, ws = str(settings.rpc), str(settings.rpc).replace("http", "ws")
    settings = settings.model_copy(
        update={"rpc": SecretUrl(ws if over == "ws" else http), "rpc_ws": SecretUrl(ws) if over == "rpc_ws" else None}
    )
    world = await world_on(http)
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in world.pools]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(world.pools)
            first = await mined(world, 1)
            await listener.until_tip(first)
            await listener.until_tip(await mined(world, 11))
            for depth in range(1, 11):
                kind: ReorgKind = "replaced" if depth % 3 == 0 else "rewound"
                await asyncio.to_thread(world.reorg, depth, kind=kind, longer_by=depth % 4 - 1)
                await listener.until_tip(await mined(world, 2))

            blocks = [block for block in listener.chain() if block.number >= first]
            last = world.chain.tip.number

    assert blocks == await asyncio.to_thread(blocks_on_chain, Rpc(http), first, last, [pool.id for pool in world.pools])
    assert sum(len(block.updates) for block in blocks) > 100
    assert len(listener.reorgs()) >= 10
    assert {
        update.protocol
        for message in listener.epilogues()
        if isinstance(update := message.update, PoolFinal) and isinstance(update.price, Price)
    } == {"v3", "v4"}


async def test_a_chain_that_only_gets_shorter_is_a_pure_revert(settings: Settings) -> None:
    world = await world_on(str(settings.rpc))
    pools = {pool.id: pool for pool in world.pools}
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in world.pools]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(world.pools)
            first = await mined(world, 1)
            await listener.until_tip(first)
            await listener.until_tip(await mined(world, 4))
            await asyncio.to_thread(world.chain.rewind, 3)
            await listener.until_tip(first + 1)
            blocks = [block for block in listener.chain() if block.number >= first]

    (reorg,) = listener.reorgs()
    assert (reorg.old.first, reorg.old.last, reorg.old.count) == (first + 2, first + 4, 3)
    assert (reorg.new.first, reorg.new.last, reorg.new.count) == (None, None, 0)
    assert blocks == blocks_on_chain(Rpc(str(settings.rpc)), first, first + 1, pools)
    assert listener.epilogues()
    heads = world.reference.heads(world.pools, world.chain.tip.hash)
    for epilogue in listener.epilogues():
        final = epilogue.update
        assert isinstance(final, PoolFinal)
        price = msgspec.structs.asdict(final.price)
        assert price == {name: heads[final.pool][name] for name in price}


async def test_several_reorgs_between_two_polls_are_one_step(settings: Settings) -> None:
    world = await world_on(str(settings.rpc))
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in world.pools]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(world.pools)
            first = await mined(world, 1)
            await listener.until_tip(first)
            await listener.until_tip(await mined(world, 9))
            for depth in (2, 5, 4, 8):
                await asyncio.to_thread(world.reorg, depth)
            last = world.chain.tip.number
            await listener.until_tip(last)
            blocks = [block for block in listener.chain() if block.number >= first]

    assert blocks == blocks_on_chain(Rpc(str(settings.rpc)), first, last, [pool.id for pool in world.pools])


async def test_a_late_client_begins_with_a_whole_step(settings: Settings) -> None:
    world = await world_on(str(settings.rpc))
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in world.pools]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as early:
            await filter_log.until_set(world.pools)
            await early.until_tip(await mined(world, 3))
            async with client(settings.exex_socket) as late:
                first = world.chain.tip.number + 1
                last = await mined(world, 3)
                await late.until_tip(last)
                await early.until_tip(last)

                first_seen = late.messages[0].stream_seq
                assert late.chain() == [block for block in early.chain() if block.number >= first]
                assert early.messages[0].stream_seq < first_seen


async def test_a_whitelist_change_takes_effect_from_the_next_block(settings: Settings) -> None:
    world = await world_on(str(settings.rpc))
    half, rest = world.pools[::2], world.pools[1::2]
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in half]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(half)
            first = await mined(world, 1)
            await listener.until_tip(await mined(world, 3))
            await publishing.publish(encode_add(envelope(settings.chain), [pool.metadata for pool in rest], 1 << 20))
            await filter_log.until_set(world.pools)
            added = world.chain.tip.number + 1
            await listener.until_tip(await mined(world, 4))
            await publishing.publish(encode_remove(envelope(settings.chain), [pool.id for pool in half], 1 << 20))
            await publishing.publish([OutgoingMessage(f"whitelist.pools.{settings.chain}.full", b"no list at all")])
            await filter_log.until_set(rest)
            removed = world.chain.tip.number + 1
            last = await mined(world, 4)
            await listener.until_tip(last)
            blocks = [block for block in listener.chain() if block.number >= first]

    rpc, ids = Rpc(str(settings.rpc)), [pool.id for pool in world.pools]
    assert blocks == [
        *blocks_on_chain(rpc, first, added - 1, ids[::2]),
        *blocks_on_chain(rpc, added, removed - 1, ids),
        *blocks_on_chain(rpc, removed, last, ids[1::2]),
    ]


async def test_a_minimal_list_of_bare_ids_suffices_also_for_v4(settings: Settings) -> None:
    world = await world_on(str(settings.rpc))
    ids = [pool.id for pool in world.pools]
    minimal = OutgoingMessage(f"whitelist.pools.{settings.chain}.minimal", json.dumps({"pools": ids}).encode())
    async with (
        publisher(str(settings.nats), settings.chain) as publishing,
        feeding(settings) as filter_log,
        client(settings.exex_socket) as listener,
    ):
        await asyncio.wait_for(publishing.asked.wait(), 60)
        await publishing.publish([minimal])
        await filter_log.until_set(world.pools)
        first = await mined(world, 1)
        last = await mined(world, 4)
        await listener.until_tip(last)
        blocks = [block for block in listener.chain() if block.number >= first]

    assert blocks == blocks_on_chain(Rpc(str(settings.rpc)), first, last, ids)
    assert {len(pool) for block in blocks for _, _, pool, _ in block.updates} == {42, 66}


async def test_a_client_that_does_not_read_is_disconnected_and_delays_no_other(settings: Settings) -> None:
    settings = settings.model_copy(update={"exex_buffer_bytes": 1000})
    world = await world_on(str(settings.rpc))
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in world.pools]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as listener:
            with sockets.socket(sockets.AF_UNIX) as slow:
                slow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1)
                slow.connect(str(settings.exex_socket))
                await filter_log.until_set(world.pools)
                for _ in range(300):
                    await asyncio.to_thread(world.chain.mine)
                await listener.until_tip(await mined(world, 2))
                slow.settimeout(5)
                read = 0
                while data := await asyncio.to_thread(_receive, slow):
                    read += len(data)

            assert 0 < read < 300 * 73
            assert not listener.ended


def _receive(slow: sockets.socket) -> bytes:
    try:
        return slow.recv(1 << 16)
    except ConnectionResetError:
        return b""


async def test_a_reorg_below_the_kept_blocks_ends_every_connection_and_the_feed_continues(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams.feed.emitted_chain.EmittedChain.__init__.__defaults__", (4,))
    world = await world_on(str(settings.rpc))
    async with feeding(settings):
        async with client(settings.exex_socket) as before:
            for _ in range(8):  # one by one: more blocks at once than the feed remembers would end the connection too
                await before.until_tip(await mined(world, 1))
            await asyncio.to_thread(world.reorg, 6, longer_by=-5)  # one new block: see above
            await until(lambda: before.ended)
        async with client(settings.exex_socket) as after:
            await after.until_tip(await mined(world, 2))

    assert "all clients are disconnected" in caplog.text
    assert before.messages[-1].stream_seq < after.messages[0].stream_seq


async def test_a_flaky_node_changes_nothing_in_the_emitted_chain(settings: Settings) -> None:
    asked = 0

    def now_and_then(call: Call) -> Call | None:
        nonlocal asked
        asked += 1
        if asked % 11 == 0 and call["method"] == "eth_getLogs":
            return error("unknown block")
        if asked % 13 == 0 and call["method"] == "eth_getBlockByHash":
            return {"result": None}
        return None

    world = await world_on(str(settings.rpc))
    async with (
        proxied(str(settings.rpc), now_and_then) as proxy,
        publisher(str(settings.nats), settings.chain) as publishing,
    ):
        publishing.pools = [pool.metadata for pool in world.pools]
        failing = settings.model_copy(update={"rpc": SecretUrl(proxy.url)})
        async with feeding(failing) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(world.pools)
            first = await mined(world, 1)
            await listener.until_tip(first)
            for depth in (3, 1, 5, 2):
                await listener.until_tip(await mined(world, 6))
                await asyncio.to_thread(world.reorg, depth)
                await listener.until_tip(world.chain.tip.number)
            blocks = [block for block in listener.chain() if block.number >= first]

    pools = [pool.id for pool in world.pools]
    assert blocks == blocks_on_chain(Rpc(str(settings.rpc)), first, world.chain.tip.number, pools)


async def test_an_unavailable_node_is_waited_for(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    world = await world_on(str(settings.rpc))
    async with proxied(str(settings.rpc)) as proxy, publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in world.pools]
        behind = settings.model_copy(update={"rpc": SecretUrl(proxy.url)})
        async with feeding(behind) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(world.pools)
            first = await mined(world, 1)
            await listener.until_tip(first)
            proxy.status = 503
            await mined(world, 3)
            await asyncio.to_thread(world.reorg, 2)
            await asyncio.sleep(0.5)
            proxy.status = 200
            last = await mined(world, 1)
            await listener.until_tip(last)
            blocks = [block for block in listener.chain() if block.number >= first]

    assert blocks == blocks_on_chain(Rpc(str(settings.rpc)), first, last, [pool.id for pool in world.pools])
    assert caplog.text.count("HTTP 503") <= 2


async def test_a_pool_created_in_reverted_blocks_has_no_epilogue(settings: Settings) -> None:
    world = await world_on(str(settings.rpc))
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [pool.metadata for pool in world.pools]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(world.pools)
            first = await mined(world, 2)
            late = await asyncio.to_thread(world.create_late)
            await publishing.publish(encode_add(envelope(settings.chain), [late.metadata], 1 << 20))
            await filter_log.until_set(world.pools)
            await listener.until_tip(await mined(world, 4))
            gone = await asyncio.to_thread(world.reorg, world.chain.tip.number - first)
            await listener.until_tip(world.chain.tip.number)
            listener.chain()

    assert [pool.id for pool in gone] == [late.id]
    finals = {message.update.pool for message in listener.epilogues() if isinstance(message.update, PoolFinal)}
    assert late.id not in finals
    assert len(finals) > 5


async def test_a_listed_contracts_malformed_log_is_left_out_with_a_warning(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    rpc, liar = Rpc(str(settings.rpc)), PoolId("0x" + "11a7" * 10)
    sync = v2_sync_topic()
    rpc.call("anvil_setCode", liar, f"0x7f{sync}60206000a100")
    async with publisher(str(settings.nats), settings.chain) as publishing:
        publishing.pools = [PoolMetadata(liar, "v2", Token("0x" + "01" * 20), Token("0x" + "02" * 20))]
        async with feeding(settings) as filter_log, client(settings.exex_socket) as listener:
            await filter_log.until_set(publishing.pools)
            await asyncio.to_thread(
                rpc.call, "eth_sendTransaction", {"from": rpc.call("eth_accounts")[0], "to": liar, "gas": "0x30000"}
            )
            await listener.until_tip(1)

    assert listener.chain()[-1].updates == []
    assert f"of {liar} has topic0 0x{sync}" in caplog.text


def v2_sync_topic() -> str:
    return next(declared.topic0.hex() for declared in v2.DEX.logs if declared.name == "Sync")
