"""The task of every peer: pools of a chain of ours, and orders that they can fill; peers read it as JSON."""

import random

import msgspec

from lab.devnet.chain.contracts import Pool
from lab.devnet.chain.world import World
from lab.quotes.model import PoolModel, read_models
from lab.quotes.orders import random_order
from protocols.concentrated import Price
from protocols.quotes.order import Order, Quote, QuoteRefused


class BenchPool(msgspec.Struct, frozen=True):
    id: str
    protocol: str
    fee: int
    """In pips, of each direction."""
    tick_spacing: int
    sqrt_price_x96: str
    tick: int
    liquidity: str
    ticks: list[tuple[int, str, str]]


class BenchOrder(msgspec.Struct, frozen=True):
    """An exact input."""

    pool: int
    zero_for_one: bool
    amount_in: str


class Task(msgspec.Struct, frozen=True):
    pools: list[BenchPool]
    orders: list[BenchOrder]


class Reading(msgspec.Struct, frozen=True):
    """What one of them answers."""

    amounts: list[str | None]
    """By order; None where it does not know the protocol."""
    microseconds: list[float]
    """Of each order that was answered."""


class Case(msgspec.Struct, frozen=True):
    pool: Pool
    model: PoolModel
    order: Order
    quote: Quote


def cases(world: World, per_pool: int, seed: int) -> list[Case]:
    """Of V3 and V4 pools whose fees are the same in both directions, without a price limit."""
    chosen = random.Random(seed)
    tip = world.chain.tip
    pools = [pool for pool in world.pools if pool.protocol != "v2"]
    models = read_models(world.reference, pools, tip.number, tip.hash)
    found: list[Case] = []
    for model in models.values():
        mine: list[Case] = []
        while len(mine) < per_pool:
            order = random_order(chosen, model)
            order = Order(order.zero_for_one, order.amount)
            try:
                mine.append(Case(model.pool, model, order, model.market.quote(order)))
            except QuoteRefused:
                continue
        found += mine if fee(model) is not None else []
    return found


def fee(model: PoolModel) -> int | None:
    """In pips; None where the directions differ."""
    if model.fees is None:
        return model.pool.fee
    return model.fees.lp_fee if not model.fees.protocol_fee else None


def task(found: list[Case]) -> Task:
    ids = list(dict.fromkeys(case.pool.id for case in found))
    by_id = {case.pool.id: case.model for case in found}
    orders = [BenchOrder(ids.index(each.pool.id), each.order.zero_for_one, str(each.order.amount)) for each in found]
    return Task([_pool(by_id[id_]) for id_ in ids], orders)


def _pool(model: PoolModel) -> BenchPool:
    price = model.state.price
    assert isinstance(price, Price)
    return BenchPool(
        model.pool.id,
        model.pool.protocol,
        fee(model) or 0,
        model.pool.tick_spacing,
        str(price.sqrt_price_x96),
        price.tick,
        str(price.liquidity),
        [(each.tick, str(each.liquidity_gross), str(each.liquidity_net)) for each in model.state.ticks],
    )
