"""Runs the feed on a real chain and NATS, with clients that record every message they receive."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import nats as nats_client
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from lab.devnet.chain.contracts import Pool
from lab.devnet.chain.evm import Rpc
from lab.devnet.chain.world import World
from protocols.concentrated import Initialize
from protocols.decoding import decode
from protocols.registry import Event
from protocols.types import Log, PoolId, PoolMetadata
from settings import Settings
from streams.exex.control import Decoder
from streams.exex.control_messages import (
    BeginBlock,
    EndBlock,
    Message,
    PoolUpdate,
    ReorgComplete,
    ReorgEpilogue,
    ReorgStart,
)
from streams.feed import log_filter
from streams.feed import process as feed
from streams.nats.subscriber import RESEED_SUBJECT
from streams.nats.whitelist_encoder import Envelope, OutgoingMessage, encode_full
from tests.support.waiting import until

Place = tuple[int, int, PoolId, Event]
"""(tx_index, log_index within the receipt, pool, event)."""


class ChainBlock(msgspec.Struct):
    number: int
    timestamp: int
    base_fee: int
    updates: list[Place]


class Client:
    """Connected to the feed's socket; `messages` are all it received."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ended = False

    async def read(self, reader: asyncio.StreamReader) -> None:
        decoder = Decoder()
        while data := await reader.read(1 << 16):
            self.messages += decoder.feed(data)
        self.ended = True

    def chain(self) -> list[ChainBlock]:
        """The blocks that all messages result in; checks every promise of the wire on the way."""
        sequence = [message.stream_seq for message in self.messages]
        assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))
        blocks: list[ChainBlock] = []
        messages = iter(self.messages)
        for message in messages:
            match message:
                case BeginBlock(is_revert=False):
                    blocks.append(_block(message, messages))
                case ReorgStart():
                    _reorg(message, messages, blocks)
                case _:
                    raise AssertionError(f"{message} outside any block")
        return blocks

    def epilogues(self) -> list[ReorgEpilogue]:
        return [message for message in self.messages if isinstance(message, ReorgEpilogue)]

    def reorgs(self) -> list[ReorgStart]:
        return [message for message in self.messages if isinstance(message, ReorgStart)]

    @property
    def tip(self) -> int | None:
        for message in reversed(self.messages):
            if isinstance(message, EndBlock):
                return message.block_number
            if isinstance(message, ReorgComplete):
                return message.final_tip_block
        return None

    async def until_tip(self, number: int) -> None:
        await until(lambda: self.tip == number and isinstance(self.messages[-1], EndBlock | ReorgComplete))


def _block(begin: BeginBlock, messages: Any) -> ChainBlock:
    updates: list[PoolUpdate] = []
    while isinstance(message := next(messages), PoolUpdate):
        assert message.block_number == begin.block_number
        assert message.block_timestamp == begin.block_timestamp
        assert message.is_revert == begin.is_revert
        updates.append(message)
    assert isinstance(message, EndBlock)
    assert (message.block_number, message.num_updates) == (begin.block_number, len(updates))
    places: list[Place] = [(update.tx_index, update.log_index, update.pool, update.event) for update in updates]
    return ChainBlock(begin.block_number, begin.block_timestamp, begin.base_fee_per_gas, places)


def _reorg(start: ReorgStart, messages: Any, blocks: list[ChainBlock]) -> None:
    """Old blocks newest first with their logs reversed, new ones ascending, epilogues, the end."""
    old, new = start.old, start.new
    assert old.first is not None
    assert old.last is not None
    for number in range(old.last, old.first - 1, -1):
        begin = next(messages)
        assert (begin.block_number, begin.is_revert) == (number, True)
        reverted = _block(begin, messages)
        if blocks:
            gone = blocks.pop()
            assert (gone.number, gone.timestamp, gone.base_fee) == (
                number,
                begin.block_timestamp,
                begin.base_fee_per_gas,
            )
            assert gone.updates == reverted.updates[::-1]
    assert old.count == old.last - old.first + 1
    if new.first is not None and new.last is not None:
        assert new.count == new.last - new.first + 1
        for number in range(new.first, new.last + 1):
            begin = next(messages)
            assert (begin.block_number, begin.is_revert) == (number, False)
            blocks.append(_block(begin, messages))
    tip = new.last if new.last is not None else old.first - 1
    while isinstance(message := next(messages), ReorgEpilogue):
        assert message.final_tip_block == tip
    assert message == ReorgComplete(message.stream_seq, tip)


def blocks_on_chain(rpc: Rpc, first: int, last: int, pools: Iterable[PoolId]) -> list[ChainBlock]:
    """The same blocks made from the chain's receipts."""
    listed = set(pools)
    blocks = []
    for number in range(first, last + 1):
        header = rpc.call("eth_getBlockByNumber", hex(number), False)
        receipts = rpc.batch([("eth_getTransactionReceipt", [each]) for each in header["transactions"]])
        places: list[Place] = [
            (int(receipt["transactionIndex"], 16), index, decoded.pool, decoded.event)
            for receipt in receipts
            for index, raw in enumerate(receipt["logs"])
            if (decoded := decode(_log(raw))) and decoded.pool in listed and not isinstance(decoded.event, Initialize)
        ]
        timestamp, base_fee = int(header["timestamp"], 16), int(header["baseFeePerGas"], 16)
        blocks.append(ChainBlock(number, timestamp, base_fee, places))
    return blocks


def _log(raw: dict[str, Any]) -> Log:
    topics = tuple(bytes.fromhex(topic[2:]) for topic in raw["topics"])
    return Log(raw["address"].lower(), topics, bytes.fromhex(raw["data"][2:]), 0, 0)


def envelope(chain: str) -> Envelope:
    return Envelope(chain, "2026-01-01T00:00:00+00:00", 1)


class Publisher:
    """Publishes the list on each reseed request, as a whitelist publisher does."""

    def __init__(self, client: NatsClient, chain: str) -> None:
        self._client = client
        self._chain = chain
        self.pools: list[PoolMetadata] = []
        self.asked = asyncio.Event()
        """A subscriber has asked for the list."""

    async def answer(self, _: Msg) -> None:
        self.asked.set()
        if self.pools:
            await self.publish(encode_full(envelope(self._chain), self.pools, 1 << 20))

    async def publish(self, messages: Iterable[OutgoingMessage]) -> None:
        for subject, payload in messages:
            await self._client.publish(subject, payload)
        await self._client.flush()


@asynccontextmanager
async def publisher(url: str, chain: str) -> AsyncIterator[Publisher]:
    client = await nats_client.connect(url)
    publishing = Publisher(client, chain)
    await client.subscribe(RESEED_SUBJECT, cb=publishing.answer)
    await client.flush()
    yield publishing
    await client.close()


class FilterLog(logging.Handler):
    """Knows from the feed's log which filters it has."""

    def __init__(self) -> None:
        super().__init__()
        self._last_message = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO:
            self._last_message = record.getMessage()

    async def until_set(self, pools: Sequence[Pool | PoolMetadata]) -> None:
        singletons = sum(pool.protocol == "v4" for pool in pools)
        expected = f"the filter has {len(pools)} pools and the PoolManagers of {singletons} V4 pools"
        async with asyncio.timeout(60):
            while self._last_message != expected:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def feeding(settings: Settings) -> AsyncIterator[FilterLog]:
    filter_log, logger = FilterLog(), logging.getLogger(log_filter.__name__)
    logger.addHandler(filter_log)
    level = logger.level
    logger.setLevel(logging.INFO)
    task = asyncio.create_task(feed.run(settings))
    async with asyncio.timeout(60):
        while not settings.exex_socket.exists():
            await asyncio.sleep(0.01)
            if task.done():
                await task
    try:
        yield filter_log
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        logger.removeHandler(filter_log)
        logger.setLevel(level)


@asynccontextmanager
async def client(socket: Path) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_unix_connection(socket)
    connected = Client()
    task = asyncio.create_task(connected.read(reader))
    try:
        yield connected
    finally:
        task.cancel()
        writer.close()


async def mined(world: World, blocks: int) -> int:
    """Mines that many blocks; the tip's number."""
    for _ in range(blocks):
        await asyncio.to_thread(world.mine)
    return world.chain.tip.number
