"""GET /pools/{id}/quote and /pools/{id}/depth/: what swaps of one pool would give."""

from collections.abc import Callable

from aiohttp import web

from protocols.quotes.order import QuoteRefused
from tables.views.markets import PoolMarket, Swap, market_at, quote
from tables.views.memory import reason
from tables.views.quote import DepthView, QuoteView, depth_view, quote_view
from web.answers import answer_from_thread, joined
from web.errors import HttpError
from web.freshness import not_modified
from web.parameters import AT, MAX_AGE_S, POOL
from web.pools.lookup import Found, PoolLookup
from web.quotes.parameters import AMOUNT_IN, AMOUNT_OUT, DEFAULT_POINTS, POINTS, PRICE_LIMIT, TOKEN_IN, swap_of
from web.quotes.refusals import unprocessable
from web.route_table import Route


class QuoteHandlers:
    def __init__(self, lookup: PoolLookup) -> None:
        self._lookup = lookup

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/pools/{id}/quote",
                self._lookup.handler(_quote),
                "What a swap would settle, to the wei",
                [QuoteView],
                parameters=[POOL, TOKEN_IN, AMOUNT_IN, AMOUNT_OUT, PRICE_LIMIT, AT, MAX_AGE_S],
                has_envelope=True,
                errors=[400, 404, 422, 503],
            ),
            Route(
                "GET",
                "/pools/{id}/depth/",
                self._lookup.handler(_depth),
                "What trades of growing size move the price to, on both sides",
                [DepthView],
                parameters=[POOL, POINTS, AT, MAX_AGE_S],
                has_envelope=True,
                errors=[400, 404, 422, 503],
            ),
        ]


async def _quote(request: web.Request, found: Found) -> web.StreamResponse:
    swap = requested_swap(request)
    return await _answered(request, found, lambda of: quote_view(of.pool, quote(of, swap), of.fees))


async def _depth(request: web.Request, found: Found) -> web.StreamResponse:
    points = POINTS.read(request) or DEFAULT_POINTS
    return await _answered(request, found, lambda of: depth_view(of.pool, of.state.price, of.market, of.fees, points))


async def _answered(
    request: web.Request, found: Found, view: Callable[[PoolMarket], QuoteView | DepthView]
) -> web.StreamResponse:
    """The view is made in a thread. 304 where the client has it, 422 where it cannot be known."""
    if known := not_modified(request, found.etag):
        return known
    try:
        of = market_at(found.pool, found.at, reason(found.partition, found.pool))
        return await answer_from_thread(lambda: joined(found.envelope, view(of)), found.etag)
    except QuoteRefused as refused:
        return unprocessable(found.envelope, refused)


def requested_swap(request: web.Request) -> Swap:
    """Raises HttpError 400."""
    token_in = TOKEN_IN.read(request)
    if token_in is None:
        raise HttpError(400, "token_in is missing: the address of the token that goes in")
    return swap_of(token_in, AMOUNT_IN.read(request), AMOUNT_OUT.read(request), PRICE_LIMIT.read(request))
