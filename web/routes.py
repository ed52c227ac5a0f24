"""The HTTP interface: every worker answers for every pool; it asks the worker that owns the partition."""

from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web

from settings import Settings
from tables.processing.processor import PartitionProcessor
from tables.views.envelope import ServedChain
from web.answers import compress_where_asked
from web.errors import Handler
from web.health import HealthHandlers
from web.openapi import OpenApiHandler
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions, Owners
from web.page.serving import SitePages
from web.pools.handlers import PoolHandlers
from web.pools.lookup import PoolLookup
from web.pools.one_block import OneBlock
from web.pools.pages import PageHandlers
from web.pools.pools_at_block import PoolsReader
from web.pools.query import QueryHandlers
from web.pools.subgraph import SubgraphHandlers
from web.quotes.batch import BatchHandlers
from web.quotes.handlers import QuoteHandlers
from web.quotes.parts import LocalPart
from web.route_table import Route
from web.status import StatusHandler
from web.stream.handler import StreamHandler
from web.stream.partitions import PartitionHandlers
from web.stream.service import StreamService
from web.token import authorization


class HttpOptions(NamedTuple):
    token: str | None = None
    """Sent to other workers."""
    waiting_share: float = 0.0
    """Of its pools: where more wait, the worker is not ready."""
    settings: Settings | None = None
    """None where there is no Kafka to read, and so no stream."""


DEFAULTS = HttpOptions()


class HttpApi:
    def __init__(
        self,
        processor: PartitionProcessor,
        owners: Owners,
        served: ServedChain,
        partitions: int,
        options: HttpOptions = DEFAULTS,
    ) -> None:
        owned = OwnedPartitions(processor, owners)
        self._forwarding = Forwarding(owners, partitions, authorization(options.token))
        lookup = PoolLookup(owned, self._forwarding, served, partitions)
        sources = PartitionHandlers(owned, self._forwarding)
        self._stream = StreamService(options.settings, sources, served) if options.settings is not None else None
        self._internal = sources.routes()
        streams = () if self._stream is None else (StreamHandler(self._stream),)
        handlers = (
            PageHandlers(owned, self._forwarding, served),
            PoolHandlers(lookup),
            QuoteHandlers(lookup),
            BatchHandlers(LocalPart(owned, served, partitions), self._forwarding, partitions),
            QueryHandlers(OneBlock(PoolsReader(owned, served, partitions), self._forwarding, partitions)),
            SubgraphHandlers(owned, self._forwarding),
            StatusHandler(owned, owners, self._forwarding, served),
            HealthHandlers(owned, owners, options.waiting_share),
        )
        table = [route for each in (*handlers, *streams) for route in each.routes()]
        self._table: Sequence[Route] = [*table, OpenApiHandler(table, options.token is not None).route()]

    def routes(self) -> list[web.RouteDef]:
        return [*map(_definition, self._table), *self._internal, *SitePages().routes()]

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.close()
        await self._forwarding.close()


def _definition(route: Route) -> web.RouteDef:
    """A GET is answered to HEAD too."""
    define = web.get if route.method == "GET" else web.post
    return define(route.path, compressing(route.handler))


def compressing(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await handler(request)
        compress_where_asked(request, response)
        return response

    return handle
