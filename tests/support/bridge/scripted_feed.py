"""A feed that sends what a test scripts."""

import asyncio
from contextlib import suppress
from pathlib import Path

import msgspec

from protocols.concentrated import Initialize
from protocols.dex import UpdateType
from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import PoolId, ProtocolName
from protocols.v2 import Sync
from streams.exex.control_encoder import encode
from streams.exex.control_messages import (
    BeginBlock,
    EndBlock,
    Message,
    PoolUpdate,
    ReorgComplete,
    ReorgRange,
    ReorgStart,
    Skipped,
)
from streams.node.blocks import NodeHeader
from tests.support.bridge.emitting_chain import Updates


class ScriptedFeed:
    """Listens on the socket and sends to all that are connected."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._seq = 0

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._joined, self._socket)

    async def stop(self) -> None:
        """As if the process ended: the next one counts from 1."""
        self.disconnect()
        if self._server is not None:
            self._server.close()
            self._socket.unlink(missing_ok=True)
        self._seq = 0

    def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)

    async def until_connected(self) -> None:
        while not self._writers:
            await asyncio.sleep(0.02)

    def disconnect(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers = []

    async def send(self, *messages: Message) -> None:
        await self.until_connected()
        for message in messages:
            self._seq += 1
            assert not isinstance(message, Skipped)
            await self.write(encode(msgspec.structs.replace(message, stream_seq=self._seq)))

    def skip(self, messages: int) -> None:
        """Counts messages that nobody receives."""
        self._seq += messages

    async def write(self, data: bytes) -> None:
        for writer in self._writers:
            writer.write(data)
            with suppress(ConnectionError):
                await writer.drain()

    async def send_block(self, header: NodeHeader, updates: Updates) -> None:
        await self.send(*block_messages(header, updates))


def block_messages(header: NodeHeader, updates: Updates, reverted: bool = False) -> list[Message]:
    base_fee = header.base_fee or 0
    events = [(pool, event) for pool, of_pool in updates.items() for event in of_pool]
    return [
        BeginBlock(0, header.number, header.timestamp, base_fee, reverted),
        *(_update(header, place, *event, reverted) for place, event in enumerate(events)),
        EndBlock(0, header.number, len(events)),
    ]


def _update(header: NodeHeader, place: int, pool: PoolId, event: Event, reverted: bool) -> PoolUpdate:
    kind: UpdateType = "mint" if isinstance(event, LiquidityChange) else "swap"
    protocol: ProtocolName = "v2" if isinstance(event, Sync) else "v3"
    assert not isinstance(event, Initialize)
    return PoolUpdate(0, pool, protocol, kind, header.number, header.timestamp, place, 0, reverted, event)


def reorg_messages(old: list[tuple[NodeHeader, Updates]], new: list[tuple[NodeHeader, Updates]]) -> list[Message]:
    tip = new[-1][0].number if new else old[0][0].number - 1
    return [
        ReorgStart(0, _range(old), _range(new)),
        *(message for block in reversed(old) for message in block_messages(*block, reverted=True)),
        *(message for block in new for message in block_messages(*block)),
        ReorgComplete(0, tip),
    ]


def _range(blocks: list[tuple[NodeHeader, Updates]]) -> ReorgRange:
    return ReorgRange(blocks[0][0].number, blocks[-1][0].number, len(blocks)) if blocks else ReorgRange(None, None, 0)
