"""What POST /quote takes and answers: many quotes, of single pools or along paths."""

from typing import Annotated

import msgspec

from protocols.types import PoolId
from tables.views.markets import Swap
from tables.views.quote import PathQuoteView, QuoteView
from web.errors import ErrorAnswer, HttpError
from web.parameters import ADDRESS, BLOCK, POOL_ID, parse_pool, parse_token
from web.quotes.parameters import AMOUNT, parse_amount, swap_of
from web.route_table import any_of

MOST_QUOTES = 1_000
MOST_HOPS = 8

Amount = Annotated[str, msgspec.Meta(pattern=AMOUNT)] | Annotated[int, msgspec.Meta(ge=0)]


class QuoteOrder(msgspec.Struct, frozen=True):
    """Just one of `pool` and `path`, and just one of `amount_in` and `amount_out`."""

    token_in: Annotated[str, msgspec.Meta(pattern=ADDRESS)]
    pool: Annotated[str, msgspec.Meta(pattern=POOL_ID)] | None = None
    path: Annotated[list[Annotated[str, msgspec.Meta(pattern=POOL_ID)]], msgspec.Meta(max_length=MOST_HOPS)] | None = (
        None
    )
    """Pools, in the order in which the swap goes through them."""
    amount_in: Amount | None = None
    amount_out: Amount | None = None
    price_limit: Amount | None = None
    """Of a single pool."""


class QuotesRequest(msgspec.Struct, frozen=True):
    quotes: Annotated[list[QuoteOrder], msgspec.Meta(min_length=1, max_length=MOST_QUOTES)]
    at: Annotated[str, msgspec.Meta(pattern=BLOCK)] | Annotated[int, msgspec.Meta(ge=0)] | None = None
    """As of the end of this block; the newest that all partitions concerned have where it is not given."""


class QuotesView(msgspec.Struct, frozen=True):
    quotes: list[Annotated[msgspec.Raw, any_of(QuoteView, PathQuoteView, ErrorAnswer)]]
    """In the order of the request; where one cannot be known, an error with its reason."""


class Path(msgspec.Struct, frozen=True):
    """An order, read."""

    pools: tuple[PoolId, ...]
    swap: Swap
    is_path: bool
    """Whether it was asked for as a path, and is answered as one."""


def read_order(order: QuoteOrder) -> Path:
    """Raises HttpError 400."""
    if (order.pool is None) == (not order.path):
        raise HttpError(400, "just one of pool and path must be given, and a path has at least one pool")
    names = [order.pool] if order.pool is not None else order.path or []
    pools = tuple(parse_pool("pool", name) for name in names)
    if len(set(pools)) < len(pools):
        raise HttpError(400, "a path goes through no pool twice")
    if order.price_limit is not None and len(pools) > 1:
        raise HttpError(400, "price_limit is for a single pool")
    swap = swap_of(
        parse_token("token_in", order.token_in),
        _amount("amount_in", order.amount_in),
        _amount("amount_out", order.amount_out),
        _amount("price_limit", order.price_limit),
    )
    return Path(pools, swap, order.pool is None)


def _amount(name: str, given: str | int | None) -> int | None:
    return None if given is None else parse_amount(name, str(given))
