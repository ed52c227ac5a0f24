"""A real chain (anvil) with pools that emit any event."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from protocols import v2, v3
from protocols.concentrated import Swap
from protocols.decoding import decode_listed
from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import PoolId, PoolMetadata, Token
from protocols.v2 import Sync
from streams.node.blocks import NodeHeader
from streams.node.client import Node, connect

SENDER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
"""Anvil's first account."""
EMITTER = (
    "60a036038060a060003760003580600114602d578060031460375750"
    "608035606035604035602035846000a400"
    "5b50602035816000a100"
    "5b50606035604035602035836000a300"
)
"""Emits any log: calldata = number of topics (1, 3 or 4), four topics, data."""

V2_POOLS = [PoolId(f"0x{0xA000 + number:040x}") for number in range(4)]
V3_POOLS = [PoolId(f"0x{0xB000 + number:040x}") for number in range(2)]
POOLS = [*V2_POOLS, *V3_POOLS]
TOKENS = [Token(f"0x{number:040x}", 18) for number in (0xC1, 0xC2)]
METADATA = [
    *(PoolMetadata(pool, "v2", TOKENS[0], TOKENS[1]) for pool in V2_POOLS),
    *(PoolMetadata(pool, "v3", TOKENS[0], TOKENS[1], fee=3000, tick_spacing=60) for pool in V3_POOLS),
]

Updates = dict[PoolId, tuple[Event, ...]]


def emission(event: Event) -> bytes:
    """Calldata that makes an emitter's log of the event."""
    match event:
        case Sync(reserve0, reserve1):
            return _calldata([_topic0(v2, "Sync")], [reserve0, reserve1])
        case Swap(price, liquidity, tick):
            return _calldata([_topic0(v3, "Swap"), 1, 2], [1, 1, price, liquidity, tick])
        case LiquidityChange(lower, upper, delta) if delta > 0:
            return _calldata([_topic0(v3, "Mint"), 1, lower, upper], [1, delta, 0, 0])
        case LiquidityChange(lower, upper, delta):
            return _calldata([_topic0(v3, "Burn"), 1, lower, upper], [-delta, 0, 0])
    raise ValueError(event)


def _topic0(protocol: Any, name: str) -> int:
    return int.from_bytes(next(declared.topic0 for declared in protocol.DEX.logs if declared.name == name), "big")


def _calldata(log_topics: list[int], data: list[int]) -> bytes:
    padded = [*log_topics, *[0] * (4 - len(log_topics))]
    return b"".join((value % 2**256).to_bytes(32, "big") for value in (len(log_topics), *padded, *data))


class EmittingChain:
    """Anvil with pools that emit the events a test names."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._numbers = count(1)

    async def mine(self, *events: tuple[PoolId, Event], like: NodeHeader | None = None) -> NodeHeader:
        """`like`: with that block's timestamp and base fee."""
        for pool, event in events:
            data = "0x" + emission(event).hex()
            await self.node.call(
                "eth_sendTransaction", [{"from": SENDER, "to": pool, "data": data, "gas": hex(200_000)}]
            )
        if like is not None:
            await self.node.call("evm_setNextBlockTimestamp", [like.timestamp])
            await self.node.call("anvil_setNextBlockBaseFeePerGas", [hex(like.base_fee or 0)])
        await self.node.call("evm_mine", [])
        return await self.head()

    async def mine_busy(self, blocks: int) -> list[NodeHeader]:
        """Blocks of which no two have the same events."""
        return [await self.mine(*self.busy_events()) for _ in range(blocks)]

    def busy_events(self) -> list[tuple[PoolId, Event]]:
        number = next(self._numbers)
        return [
            (POOLS[number % 4], Sync(number, 2)),
            (POOLS[(number + 1) % 4], Sync(number, 3)),
            (V3_POOLS[number % 2], Swap(2**96 + number, number, number)),
            (V3_POOLS[number % 2], LiquidityChange(-60, 60, number)),
            (POOLS[number % 4], Sync(number, 4)),
        ]

    async def head(self) -> NodeHeader:
        return await self.header("latest")

    async def header(self, at: int | str) -> NodeHeader:
        header = await self.node.header(at)
        assert header is not None
        return header

    async def snapshot(self) -> str:
        return str(await self.node.call("evm_snapshot", []))

    async def revert(self, snapshot: str) -> None:
        assert await self.node.call("evm_revert", [snapshot])

    async def updates(self, header: NodeHeader, pools: Sequence[PoolId] = POOLS) -> Updates:
        grouped: dict[PoolId, list[Event]] = {}
        logs = await self.node.logs(header.hash)
        for _, decoded in decode_listed(logs, dict.fromkeys(pools), {}):
            grouped.setdefault(decoded.pool, []).append(decoded.event)
        return {pool: tuple(events) for pool, events in grouped.items()}

    async def blocks_from(self, first: int, pools: Sequence[PoolId] = POOLS) -> "list[tuple[str, Updates]]":
        headers = [await self.header(number) for number in range(first, (await self.head()).number + 1)]
        return [(header.hash, await self.updates(header, pools)) for header in headers]


@asynccontextmanager
async def emitting_chain(rpc: str) -> AsyncIterator[EmittingChain]:
    async with connect(rpc) as node:
        for pool in POOLS:
            await node.call("anvil_setCode", [pool, "0x" + EMITTER])
        await node.call("evm_setAutomine", [False])
        await node.call("evm_mine", [])
        yield EmittingChain(node)
