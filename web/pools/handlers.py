"""Answers about one pool: its state, its ticks, and where its state comes from."""

from aiohttp import web

from tables.views.explanation import LiveExplanation, WaitingExplanation, explanation
from tables.views.pool import PoolView, TicksView, ticks_view_at, view_at
from tables.views.quote import TvlView, tvl_view
from web.answers import answer_from_thread, encoded_answer, joined
from web.freshness import not_modified
from web.parameters import AT, MAX_AGE_S, POOL
from web.pools.lookup import Found, PoolLookup
from web.route_table import Route

MANY_TICKS = 2_000
"""From here on what is locked between them is summed up in a thread."""


class PoolHandlers:
    def __init__(self, lookup: PoolLookup) -> None:
        self._lookup = lookup

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/pools/{id}/",
                self._lookup.handler(_pool),
                "A pool: its state as of the end of a block",
                [PoolView],
                extensions=[TvlView],
                parameters=[POOL, AT, MAX_AGE_S],
                has_envelope=True,
                errors=[400, 404, 503],
            ),
            Route(
                "GET",
                "/pools/{id}/ticks/",
                self._lookup.handler(_ticks),
                "Every initialised tick of a pool, ascending",
                [TicksView],
                parameters=[POOL, AT, MAX_AGE_S],
                has_envelope=True,
                errors=[400, 404, 503],
            ),
            Route(
                "GET",
                "/pools/{id}/explain/",
                self._lookup.handler(_explanation),
                "Where a pool's state comes from: base, updates applied and skipped, rewinds, audits, divergences",
                [LiveExplanation, WaitingExplanation],
                parameters=[POOL, AT, MAX_AGE_S],
                has_envelope=True,
                errors=[400, 404, 503],
            ),
        ]


async def _pool(request: web.Request, found: Found) -> web.StreamResponse:
    if known := not_modified(request, found.etag):
        return known
    view = view_at(found.partition, found.pool, found.at)
    state = found.at.state if found.at else None
    if state is None or len(state.ticks) < MANY_TICKS:
        return encoded_answer(joined(found.envelope, view, tvl_view(state)), found.etag)
    return await answer_from_thread(lambda: joined(found.envelope, view, tvl_view(state)), found.etag)


async def _ticks(request: web.Request, found: Found) -> web.StreamResponse:
    if known := not_modified(request, found.etag):
        return known
    if found.at is None:
        return encoded_answer(joined(found.envelope, ticks_view_at(found.partition, found.pool, None)), found.etag)
    return await answer_from_thread(
        lambda: joined(found.envelope, ticks_view_at(found.partition, found.pool, found.at)), found.etag
    )


async def _explanation(_: web.Request, found: Found) -> web.StreamResponse:
    return encoded_answer(joined(found.envelope, explanation(found.partition, found.pool)))
