"""Random quotes compared with Uniswap's quoter contracts, called at the same block."""

import random
from collections import Counter

from lab.devnet.chain.world import World
from lab.devnet.reference.quoters import QuoterAnswer, Quoters
from lab.quotes.model import PoolModel, read_models
from lab.quotes.orders import random_order
from protocols.concentrated import Price
from protocols.quotes.order import LiquidityEnds, Order, QuoteRefused

CALLS_PER_BLOCK = 60


def compare_with_quoters(world: World, calls: int, seed: int) -> tuple[Counter[str], list[str]]:
    """How many quotes were compared by DEX, and what was not equal."""
    chosen = random.Random(seed)
    quoters = Quoters.deployed(world.chain, world.contracts)
    world.mine()
    pools = [pool for pool in world.pools if pool.factory in (world.contracts.v3_factory, world.contracts.manager)]
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    while sum(counts.values()) < calls and not wrong:
        tip = world.mine()
        models = list(read_models(world.reference, pools, tip.number, tip.hash).values())
        for _ in range(CALLS_PER_BLOCK):
            model = chosen.choice(models)
            order = _order(chosen, model)
            answer = quoters.quote(model.pool, order, tip.hash)
            counts[f"{model.pool.protocol} quoter {'reverts' if answer is None else 'answers'}"] += 1
            if found := difference(model, order, answer):
                wrong.append(f"{model.pool} {order} at {tip.hash}: {found}")
    return counts, wrong


def _order(chosen: random.Random, model: PoolModel) -> Order:
    order = random_order(chosen, model)
    limit = None if model.pool.protocol == "v4" else order.sqrt_price_limit_x96
    return Order(order.zero_for_one, order.amount, order.exact_out, limit)


def difference(model: PoolModel, order: Order, answer: QuoterAnswer | None) -> str | None:
    """A sentence; None where the quote says the same as the quoter."""
    try:
        quote = model.market.quote(order)
    except LiquidityEnds as refused:
        most = refused.most_amount_in if order.exact_out else refused.most_amount_out
        is_same = answer is None or (not order.exact_out and answer.amount == most)  # QuoterV2 fills what it can
        return None if is_same else f"refused ({refused}), the quoter answers {answer}"
    except QuoteRefused as refused:
        return None if answer is None else f"refused ({refused}), the quoter answers {answer}"
    if answer is None:
        if not quote.amount_in:  # QuoterV2 answers no swap in which nothing moves but the price
            return None
        return f"quoted {quote}, the quoter reverts"
    expected = QuoterAnswer(quote.amount_in if order.exact_out else quote.amount_out)
    if model.pool.protocol == "v3":
        assert isinstance(quote.after, Price)
        expected = QuoterAnswer(expected.amount, quote.after.sqrt_price_x96)
    return None if answer == expected else f"quoted {expected}, the quoter answers {answer}"
