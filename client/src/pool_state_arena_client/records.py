"""What the server answers with, as frozen records. Integers are exact, whatever their size; prices are Decimals.

Names beside those of the Uniswap SDKs: `tick` is `index` of a Tick there, `liquidity_net` is `liquidityNet`,
`liquidity_gross` is `liquidityGross`, `sqrt_price_x96` is `sqrtRatioX96`, `tick_spacing` is `tickSpacing`.
"""

from decimal import Decimal
from typing import Literal

import msgspec


class BlockId(msgspec.Struct, frozen=True):
    number: int
    hash: str


class Block(msgspec.Struct, frozen=True):
    number: int
    hash: str
    parent_hash: str
    timestamp: int
    """Seconds since the epoch."""

    @property
    def id(self) -> BlockId:
        return BlockId(self.number, self.hash)


class Envelope(msgspec.Struct, frozen=True):
    """Of which chain an answer is, as of the end of which block, and how old it is."""

    chain: str
    chain_id: int | None
    block: Block | None
    """None before the server's first block."""
    age_s: float | None
    """When it was answered."""
    finalized: int | None
    """Number of the newest finalized block, where the server's node says it."""


class Token(msgspec.Struct, frozen=True):
    address: str
    """Lower-case; 0x00…00 is the native coin."""
    decimals: int | None = None
    symbol: str | None = None


class Reason(msgspec.Struct, frozen=True):
    """Why a pool waits: its state is not known for certain."""

    kind: str
    detail: str = ""


class Price(msgspec.Struct, frozen=True):
    """With the tokens' decimals applied; None where unknown."""

    token1_per_token0: Decimal | None = None
    token0_per_token1: Decimal | None = None


class Amounts(msgspec.Struct, frozen=True):
    """Of both tokens, in their smallest units."""

    token0: int
    token1: int


class Reserves(msgspec.Struct, frozen=True, tag_field="kind", tag="reserves"):
    """The state of a V2 pool."""

    reserve0: int
    reserve1: int


class Concentrated(msgspec.Struct, frozen=True, tag_field="kind", tag="concentrated"):
    """The state of a V3 or V4 pool, but its ticks."""

    sqrt_price_x96: int
    tick: int
    liquidity: int
    """Active: of the positions whose range holds the tick."""
    lp_fee: int | None = None
    """The fees are of V4 pools, as of `fees_block`."""
    protocol_fee: int | None = None
    fees_block: int | None = None


State = Reserves | Concentrated


class Tick(msgspec.Struct, frozen=True):
    tick: int
    liquidity_gross: int
    liquidity_net: int


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    protocol: str
    status: Literal["live", "waiting"]
    reason: Reason | None = None
    """Of a waiting pool."""
    reference_block: BlockId | None = None
    """Of the snapshot that made it live."""
    verified_block: int | None = None
    """The newest block at which the state was compared with the chain, and equal."""
    last_event_block: int | None = None
    token0: Token
    token1: Token
    fee: int | None = None
    """Hundredths of a basis point; None for V2. 0x800000 marks a dynamic fee."""
    tick_spacing: int | None = None
    factory: str | None = None
    hooks: str | None = None
    price: Price = Price()
    state: State | None = None
    """None while the pool waits."""
    tvl: Amounts | None = None
    """What the pool holds, without fees that are not collected; only where one pool alone was asked for."""
    ticks: tuple[Tick, ...] | None = None
    """Ascending; None where they were not asked for, or the pool waits."""
    envelope: Envelope | None = None
    """None for pools in an event or a query: it is that of the whole."""

    @property
    def is_live(self) -> bool:
        return self.status == "live"


class PoolsAtBlock(msgspec.Struct, frozen=True):
    """Many pools, all as of the end of one block."""

    envelope: Envelope
    pools: tuple[Pool, ...]
    """In the order of the ids."""
    unknown: tuple[str, ...]
    """Ids that are not on the server's whitelist."""

    def __getitem__(self, pool_id: str) -> Pool:
        for pool in self.pools:
            if pool.id == pool_id.lower():
                return pool
        raise KeyError(pool_id)


class Ticks(msgspec.Struct, frozen=True):
    envelope: Envelope
    id: str
    status: Literal["live", "waiting"]
    ticks: tuple[Tick, ...] | None


class Quote(msgspec.Struct, frozen=True):
    """What a swap brings, in the tokens' smallest units."""

    envelope: Envelope
    pool: str
    token_in: str
    token_out: str
    amount_in: int
    amount_out: int
    fee_amount: int | None = None
    price_before: Decimal | None = None
    price_after: Decimal | None = None
    sqrt_price_x96_after: int | None = None
    tick_after: int | None = None
    ticks_crossed: int | None = None
    price_impact: Decimal | None = None


class DepthPoint(msgspec.Struct, frozen=True):
    """A trade, and where it moves the price to."""

    amount_in: int
    amount_out: int
    price_after: Decimal | None = None
    """Token1 per token0."""
    sqrt_price_x96_after: int | None = None
    tick_after: int | None = None


class Depth(msgspec.Struct, frozen=True):
    """Trades of growing size, on both sides of the price."""

    envelope: Envelope
    id: str
    price: Decimal | None
    """Token1 per token0."""
    token0_in: tuple[DepthPoint, ...]
    """They sell token0; the price falls."""
    token1_in: tuple[DepthPoint, ...]
    """They sell token1; the price rises."""
    fees_block: int | None = None


class PartitionStatus(msgspec.Struct, frozen=True):
    partition: int
    worker: str
    ready: bool
    head: BlockId | None
    lag_blocks: int | None
    lag_seconds: float | None


class PoolCounts(msgspec.Struct, frozen=True):
    live: int
    waiting: int


class ServerStatus(msgspec.Struct, frozen=True):
    chain: str
    chain_id: int | None
    ready: bool
    head: int | None
    finalized: int | None
    pools: PoolCounts
    reasons: dict[str, int]
    partitions: tuple[PartitionStatus, ...]
