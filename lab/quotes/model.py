"""Pools as quotes see them: read from the chain at one block, then moved on by quotes alone."""

from collections.abc import Iterable

from msgspec.structs import replace

from lab.devnet.chain.contracts import Pool
from lab.devnet.reference.reader import ReferenceReader, Truth
from protocols.concentrated import Price
from protocols.dex import Fees, PoolState
from protocols.quotes.order import Market, Quote
from protocols.quotes.quoting import market
from protocols.ticks import Tick, Ticks, from_ticks
from protocols.types import PoolId, PoolMetadata
from protocols.v2 import V2State


class PoolModel:
    """One pool; its state changes by `settle` only."""

    def __init__(self, pool: Pool, truth: Truth, block: int) -> None:
        self.pool = pool
        self.metadata: PoolMetadata = replace(pool.metadata, hooks=pool.hooks if pool.protocol == "v4" else None)
        self.state = _state(pool, truth)
        self.fees = _fees(truth, block)
        self.market: Market = market(self.metadata, self.state, self.fees)

    def settle(self, quote: Quote) -> None:
        self.state = PoolState(quote.after, self.state.ticks)
        self.market = market(self.metadata, self.state, self.fees)

    @property
    def fields(self) -> dict[str, int]:
        """By the names of the reference reader, without fees."""
        price = self.state.price
        return {name: getattr(price, name) for name in price.__struct_fields__}


def read_models(
    reference: ReferenceReader, pools: Iterable[Pool], number: int, block_hash: str
) -> dict[PoolId, PoolModel]:
    return {pool.id: PoolModel(pool, reference.truth(pool, block_hash), number) for pool in pools}


def _state(pool: Pool, truth: Truth) -> PoolState:
    fields = truth.fields
    if pool.protocol == "v2":
        return PoolState(V2State(fields["reserve0"], fields["reserve1"]), Ticks(1, {}))
    price = Price(fields["sqrt_price_x96"], fields["tick"], fields["liquidity"])
    return PoolState(price, from_ticks(pool.tick_spacing, (Tick(*tick) for tick in truth.ticks)))


def _fees(truth: Truth, block: int) -> Fees | None:
    if "lp_fee" not in truth.fields:
        return None
    return Fees(truth.fields["lp_fee"], truth.fields["protocol_fee"], block)
