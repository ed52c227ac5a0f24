"""A pool as it is answered over HTTP and in the stream, without the envelope. Pure."""

from typing import Annotated, Literal

import msgspec

from protocols.types import Block, PoolMetadata, Token
from tables.fees import fees_at
from tables.partition import Partition
from tables.pool import Pool, Reason
from tables.views.memory import AHEAD, At, BlockRef, NotInMemory, at, reason
from tables.views.prices import spot_price
from tables.views.state import StateView, TickView, state_view, ticks_view

NOT_IN_MEMORY = "not_in_memory"
"""The kind of reason of a pool that is live, and has no state as of the block that was asked for."""
Status = Literal["live", "waiting"]
DecimalString = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?$")]


class ReasonView(msgspec.Struct, frozen=True):
    kind: str
    detail: str
    """A sentence with the facts; empty where there is no more to say."""


class PriceView(msgspec.Struct, frozen=True):
    """Decimal strings with the tokens' decimals applied; None where unknown."""

    token1_per_token0: DecimalString | None = None
    token0_per_token1: DecimalString | None = None


NO_PRICE = PriceView()


class PoolView(msgspec.Struct, frozen=True):
    id: str
    protocol: str
    status: Status
    reason: ReasonView | None
    """Why it waits; None for a live pool."""
    reference_block: Block | None
    """Of the snapshot that made it live."""
    verified_block: int | None
    """The newest block at which a snapshot was equal to the state."""
    last_event_block: int | None
    token0: Token
    token1: Token
    fee: int | None
    """Hundredths of a basis point; None for V2. 0x800000 marks a V4 pool with a dynamic fee."""
    tick_spacing: int | None
    factory: str | None
    """The factory of a V2 or V3 pool, the PoolManager of a V4 pool, where the list names it."""
    hooks: str | None
    """Of a V4 pool, where the list names them; 0x00…00: it has none."""
    price: PriceView
    state: StateView | None
    """None while the pool waits."""


class PoolWithTicks(PoolView, frozen=True):
    ticks: list[TickView] | None
    """Ascending; None while the pool waits."""


class TicksView(msgspec.Struct, frozen=True):
    id: str
    status: Status
    reason: ReasonView | None
    ticks: list[TickView] | None
    """Ascending; None while the pool waits."""


def pool_view(partition: Partition, pool: Pool, ref: BlockRef | None = None) -> PoolView:
    """At the partition's head where no block is asked for. Raises NotInMemory."""
    return view_at(partition, pool, at(partition, pool, ref))


def view_as_of(partition: Partition, pool: Pool, number: int | None) -> PoolView:
    return as_of(partition, pool, number)[0]


def as_of(partition: Partition, pool: Pool, number: int | None) -> tuple[PoolView, At | None]:
    """Beside other pools of that block: one that has no state in memory as of it is answered as waiting."""
    try:
        found = at(partition, pool, number)
    except NotInMemory as unknown:
        why = reason_view(reason(partition, pool)) or ReasonView(NOT_IN_MEMORY, str(unknown))
        return view_at(partition, pool, None, why), None
    return view_at(partition, pool, found), found


def view_at(partition: Partition, pool: Pool, found: At | None, why: ReasonView | None = None) -> PoolView:
    """`found`: the pool's state, None while it waits, for the reason `why` where the pool itself has none."""
    metadata = pool.listed.pool
    live = found.live if found else None
    return PoolView(
        id=metadata.id,
        protocol=metadata.protocol,
        status="live" if found else "waiting",
        reason=None if found else why or reason_view(reason(partition, pool) or AHEAD),
        reference_block=live.reference if live else None,
        verified_block=live.verified.number if live and live.verified else None,
        last_event_block=pool.story.last_event_block,
        token0=metadata.token0,
        token1=metadata.token1,
        fee=metadata.fee,
        tick_spacing=metadata.tick_spacing,
        factory=metadata.factory,
        hooks=metadata.hooks,
        price=_price(metadata, found) if found else NO_PRICE,
        state=state_view(metadata, found.state.price, fees_at(found.live.fees, found.block.number)) if found else None,
    )


def with_ticks(view: PoolView, found: At | None) -> PoolWithTicks:
    """Reads immutable values only, so it may run in a thread."""
    return PoolWithTicks(**msgspec.structs.asdict(view), ticks=ticks_view(found.state.ticks) if found else None)


def ticks_view_at(partition: Partition, pool: Pool, found: At | None) -> TicksView:
    """Takes milliseconds for thousands of ticks; reads immutable values only, so it may run in a thread."""
    return TicksView(
        id=pool.listed.pool.id,
        status="live" if found else "waiting",
        reason=None if found else reason_view(reason(partition, pool) or AHEAD),
        ticks=ticks_view(found.state.ticks) if found else None,
    )


def reason_view(why: Reason | None) -> ReasonView | None:
    return ReasonView(str(why.kind), why.detail) if why else None


def _price(pool: PoolMetadata, found: At) -> PriceView:
    price = spot_price(pool, found.state.price)
    return PriceView(price.token1_per_token0, price.token0_per_token1) if price else NO_PRICE
