"""Published lists of any size reach every kind of reader, early or late."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest
from msgspec.structs import replace
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import TimeoutError as NatsTimeout

from lab.demo.whitelist import configuration
from lab.devnet.chain.world import World
from lab.devnet.servers.nats import Nats
from lab.devnet.servers.start import anvil
from protocols.types import Block, PoolId, PoolMetadata, Token
from settings import Settings
from streams.nats.jetstream import NotStored, publish
from streams.nats.subscriber import subscribe
from streams.nats.whitelist_encoder import Envelope, OutgoingMessage
from streams.nats.whitelist_state import FullList, MinimalList, apply_full, apply_minimal
from tests.support.waiting import until
from whitelist import service
from whitelist.publication.messages import (
    TooManyRemoved,
    check_removals,
    compare_lists,
    full_list_messages,
    update_messages,
)
from whitelist.publication.publisher import NatsUnavailable
from whitelist.publication.store import Published, WhitelistStore
from whitelist.tokens.chosen import ListedToken

CHAIN = "test"
TOKENS = (Token("0x" + "11" * 20, 18, "WETH"), Token("0x" + "22" * 20, 6, "USDC"))
ENVELOPE = Envelope(CHAIN, "2026-01-01T00:00:00+00:00", 1_700_000_000_000)


def pools(count: int) -> list[PoolMetadata]:
    return [PoolMetadata(PoolId(f"0x{i:040x}"), "v3", *TOKENS, 500, 10, "0x" + "fa" * 20) for i in range(1, count + 1)]


def tokens(count: int) -> list[ListedToken]:
    return [ListedToken(f"0x{i:040x}", f"T{i}", 18, ("trusted",)) for i in range(1, count + 1)]


def published(listed: list[PoolMetadata], chosen: list[ListedToken] | None = None, number: int = 1) -> Published:
    return Published(ENVELOPE.snapshot_id + number, Block(number, f"0x{number:064x}"), listed, chosen or tokens(2))


def readers(outgoing: list[OutgoingMessage], chain: str = CHAIN) -> tuple[set[PoolId], set[PoolId]]:
    """What a state keeper and an ExEx hold after all messages."""
    full, minimal = FullList(), MinimalList()
    for subject, payload in outgoing:
        if subject.startswith("whitelist.pools."):
            full = apply_full(full, subject, payload, chain)
            minimal = apply_minimal(minimal, subject, payload, chain)
            assert not full.skipped and not minimal.skipped
    return set(full.pools), set(minimal.pools)


def retained(outgoing: list[OutgoingMessage]) -> list[OutgoingMessage]:
    """What a stream that keeps the last message of each subject gives a late subscriber, in the stream order."""
    last = {message.subject: (at, message) for at, message in enumerate(outgoing)}
    return [message for _, message in sorted(last.values(), key=lambda stored: stored[0])]


@pytest.mark.parametrize("max_payload", [4_000, 1 << 20])
def test_readers_have_the_list_however_late_they_subscribe(max_payload: int) -> None:
    first, second = published(pools(30)), published([*pools(40)[5:]], tokens(3), 2)
    early = update_messages(ENVELOPE, compare_lists(None, first), first, max_payload)
    later = update_messages(
        ENVELOPE._replace(snapshot_id=ENVELOPE.snapshot_id + 1), compare_lists(first, second), second, max_payload
    )
    ids = {pool.id for pool in second.pools}

    assert readers(early) == ({pool.id for pool in first.pools},) * 2
    assert readers([*early, *later]) == (ids, ids)
    assert readers(retained([*early, *later])) == (ids, ids)
    assert readers(full_list_messages(ENVELOPE, second, max_payload)) == (ids, ids)


def test_the_changes_alone_lead_to_the_list_too() -> None:
    """For a reader that follows `.add` and `.remove` and never reads a full list again."""
    first, second = published(pools(30)), published([*pools(40)[5:]], tokens(3), 2)
    only = ("add", "remove")
    difference = [
        message
        for message in update_messages(ENVELOPE, compare_lists(first, second), second, 1 << 20)
        if message.subject.rpartition(".")[2] in only
    ]

    held, _ = readers([*full_list_messages(ENVELOPE, first, 1 << 20), *difference])

    assert held == {pool.id for pool in second.pools}


def test_a_change_is_what_is_new_different_or_gone() -> None:
    before = published(pools(5), tokens(3))
    otherwise = replace(before.pools[1], fee=501)
    after = published([before.pools[0], otherwise, *before.pools[3:], *pools(6)[5:]], tokens(4)[1:])

    found = compare_lists(before, after)

    assert [pool.id for pool in found.pools] == [otherwise.id, pools(6)[5].id]
    assert list(found.removed) == [before.pools[2].id]
    assert [token.symbol for token in found.tokens] == ["T4"]
    assert list(found.removed_tokens) == [tokens(1)[0].address]
    assert compare_lists(after, after).is_empty


@pytest.mark.parametrize(("left", "is_moderate"), [(80, True), (79, False), (0, False)])
def test_removing_more_than_a_share_of_the_list_is_refused(left: int, is_moderate: bool) -> None:
    before = published(pools(100))
    found = compare_lists(before, published(pools(left)))

    if is_moderate:
        check_removals(before, found, 0.2)
    else:
        with pytest.raises(TooManyRemoved, match=f"{100 - left} of 100 pools would be removed, more than 20%"):
            check_removals(before, found, 0.2)


def test_a_removed_token_counts_only_by_its_pools() -> None:
    before = published(pools(10), tokens(4))

    check_removals(before, compare_lists(before, published(pools(9), tokens(2))), 0.2)


def test_tokens_are_published_in_full_and_as_a_change() -> None:
    before, after = published(pools(1), tokens(3)), published(pools(1), tokens(4)[1:])

    sent = {
        message.subject: json.loads(message.payload)
        for message in update_messages(ENVELOPE, compare_lists(before, after), after, 1 << 20)
        if message.subject.startswith("whitelist.tokens.")
    }

    assert sent.keys() == {f"whitelist.tokens.{CHAIN}.{kind}" for kind in ("full", "add", "remove")}
    full, added = sent[f"whitelist.tokens.{CHAIN}.full"], sent[f"whitelist.tokens.{CHAIN}.add"]
    assert (full["type"], full["token_count"]) == ("full", 3)
    assert added["tokens"] == [{"address": f"0x{4:040x}", "symbol": "T4", "decimals": 18, "sources": ["trusted"]}]
    assert sent[f"whitelist.tokens.{CHAIN}.remove"]["token_addresses"] == [f"0x{1:040x}"]
    assert all(each["snapshot_id"] == ENVELOPE.snapshot_id and each["chain"] == CHAIN for each in sent.values())


def seeds_reader(subject: str, payload: bytes, held: dict[str, Any]) -> None:
    """Written from the seed's text alone: what its ExEx and its poolStateArena take out of the two messages."""
    message = json.loads(payload)
    if subject == "whitelist.pools.ethereum.minimal":
        held["minimal"] = {address.lower() for address in message["pools"]}
    if subject == "whitelist.pools.ethereum.full":
        held["full"] = {
            pool["address"]: (
                pool["token0"]["address"],
                pool["token0"]["decimals"],
                pool["token1"]["symbol"],
                pool["protocol"],
            )
            for pool in message["pools"]
        }
    assert message["chain"] == "ethereum"
    assert message["timestamp"]


def test_a_reader_written_from_the_seeds_text_understands_it() -> None:
    listed = published(pools(50))
    held: dict[str, Any] = {}
    envelope = ENVELOPE._replace(chain="ethereum")

    for subject, payload in full_list_messages(envelope, listed, 1 << 20):
        if subject in ("whitelist.pools.ethereum.minimal", "whitelist.pools.ethereum.full"):
            seeds_reader(subject, payload, held)

    assert held["minimal"] == held["full"].keys() == {pool.id for pool in listed.pools}
    assert set(held["full"].values()) == {(TOKENS[0].address, 18, "USDC", "v3")}


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    connection = await nats_client.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def listened(settings: Settings, until: Callable[[set[PoolId], set[PoolId]], bool]) -> None:
    """As the bridge and the feed do, until the lists are as expected."""
    full, minimal = FullList(), MinimalList()
    async with asyncio.timeout(60):
        async for subject, payload in subscribe(settings):
            full = apply_full(full, subject, payload, settings.chain)
            minimal = apply_minimal(minimal, subject, payload, settings.chain)
            if until(set(full.pools), set(minimal.pools)):
                return


@pytest.mark.servers
async def test_5000_pools_reach_early_and_late_subscribers(nats: str, chain_name: str) -> None:
    settings = Settings(nats=nats, chain=chain_name)
    listed = published(pools(5_000))
    ids = {pool.id for pool in listed.pools}

    def is_whole(full: set[PoolId], minimal: set[PoolId]) -> bool:
        return full == ids and minimal == ids

    there = asyncio.create_task(listened(settings, is_whole))
    await asyncio.sleep(0.5)
    async with client(nats) as connection:
        outgoing = update_messages(
            ENVELOPE._replace(chain=chain_name), compare_lists(None, listed), listed, connection.max_payload
        )
        await publish(connection, chain_name, outgoing)
    await there
    await listened(settings, is_whole)

    assert max(len(message.payload) for message in outgoing) <= 2**20
    assert any(message.subject.endswith(".full.part.2") for message in outgoing)


@pytest.mark.servers
async def test_a_reader_that_does_not_join_parts_gets_the_whole_list_or_none(chain_name: str) -> None:
    small, large, last = published(pools(5)), published(pools(42)), published(pools(4))
    lists = [(None, small), (small, large), (large, published(pools(44))), (published(pools(44)), last)]
    retained: list[set[str]] = []
    with Nats() as server:
        async with client(server.address) as connection:
            for before, after in lists:
                envelope = ENVELOPE._replace(chain=chain_name)
                await publish(
                    connection, chain_name, update_messages(envelope, compare_lists(before, after), after, 6000)
                )
                retained.append(await retained_subjects(connection, chain_name))

    assert "full" in retained[0]
    assert "full.part.1" not in retained[0]
    for in_parts in retained[1:3]:
        assert {"full", "add", "remove"} & in_parts == set()
        assert "full.part.2" in in_parts
    assert "full" in retained[3]
    assert not any("full.part" in subject for subject in retained[3])


async def retained_subjects(connection: Client, chain: str) -> set[str]:
    """What is kept for late subscribers, without the prefix."""
    stream, prefix = connection.jetstream(), f"whitelist.pools.{chain}."
    name = await stream.find_stream_name_by_subject(f"{prefix}>")
    info = await stream.stream_info(name, subjects_filter=f"{prefix}>")
    return {subject.removeprefix(prefix) for subject in info.state.subjects or {}}


@pytest.mark.servers
async def test_without_jetstream_it_fails_loudly() -> None:
    with Nats(jetstream=False) as server:
        async with client(server.address) as connection:
            with pytest.raises(NotStored, match="NATS runs without JetStream"):
                await publish(connection, CHAIN, [OutgoingMessage(f"whitelist.pools.{CHAIN}.full", b"{}")])


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with anvil() as rpc:
        yield World(rpc, seed=1)


def settings_of(world: World, nats: str, chain: str, directory: Path) -> Settings:
    path = configuration(world.contracts, directory)
    return Settings(chain=chain, nats=nats, rpc=world.chain.rpc.url, data=directory / "data", whitelist_config=path)


def shorten(settings: Settings) -> None:
    """Only V2 is looked for from now on, and the share that may go unasked is the default."""
    path = settings.whitelist_config
    assert path is not None
    text = path.read_text().replace("removal_share = 1.0", "")
    parts = text.split("[[factories]]")
    path.write_text("[[factories]]".join(part for part in parts if 'protocol = "v3"' not in part and 'v4"' not in part))


@pytest.mark.servers
async def test_a_second_publication_contains_only_the_change(
    world: World, nats: str, chain_name: str, tmp_path: Path
) -> None:
    settings = settings_of(world, nats, chain_name, tmp_path)

    _, first = await service.publish_once(settings, force=False)
    _, second = await service.publish_once(settings, force=False)

    assert {pool.id for pool in first.pools} == {pool.id for pool in world.pools}
    assert second.is_empty


@pytest.mark.servers
async def test_a_list_that_shrinks_too_much_is_published_only_by_force(
    world: World, nats: str, chain_name: str, tmp_path: Path
) -> None:
    settings = settings_of(world, nats, chain_name, tmp_path)
    await service.publish_once(settings, force=False)
    v2 = {pool.id for pool in world.pools if pool.protocol == "v2"}
    shorten(settings)

    with pytest.raises(TooManyRemoved, match="10 of 13 pools would be removed"):
        await service.publish_once(settings, force=False)
    held = WhitelistStore(settings).published()
    made, found = await service.publish_once(settings, force=True)

    assert held is not None and len(held.pools) == 13
    assert {listed.pool.id for listed in made.pools} == v2
    assert len(found.removed) == 10
    await listened(settings, lambda full, minimal: full == v2 == minimal)


@pytest.mark.servers
async def test_with_nats_unreachable_nothing_counts_as_published(world: World, chain_name: str, tmp_path: Path) -> None:
    settings = settings_of(world, "nats://127.0.0.1:1", chain_name, tmp_path)

    with pytest.raises(NatsUnavailable, match=r"NATS at 127\.0\.0\.1:1: .*; nothing is published"):
        await service.publish_once(settings, force=False)

    assert WhitelistStore(settings).published() is None
    assert WhitelistStore(settings).build() is not None


@pytest.mark.servers
async def test_the_service_publishes_and_answers_reseed_requests(
    world: World, chain_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 1.0)
    monkeypatch.setattr(service, "REBUILD_S", 1.0)
    caplog.set_level(logging.INFO)
    ids = {pool.id for pool in world.pools}
    with Nats() as server:
        settings = settings_of(world, server.address, chain_name, tmp_path)
        server.kill()
        running = asyncio.create_task(service.run(settings))
        await until(lambda: "the published list is unchanged: NATS at" in caplog.text)
        server.start()
        await listened(settings, lambda full, minimal: full == ids == minimal)

        async with client(server.address) as connection:
            subscription = await connection.subscribe(f"whitelist.pools.{chain_name}.full")
            message = json.loads(await answered(connection, subscription))
        assert {pool["address"] for pool in message["pools"] if "pool_id" not in pool} | {
            pool["pool_id"] for pool in message["pools"] if "pool_id" in pool
        } == ids
        assert message["type"] == "full"

        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def answered(connection: Client, subscription: Subscription) -> bytes:
    """Asks until it is answered: after a reconnect the service may not have subscribed yet."""
    async with asyncio.timeout(60):
        while True:
            await connection.publish("whitelist.reseed", b"")
            with suppress(NatsTimeout):
                return bytes((await subscription.next_msg(timeout=1)).data)
