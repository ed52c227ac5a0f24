"""The HTTP interface: every worker answers for every pool; it asks the worker that owns the partition."""

from aiohttp import web

from tables.processing.processor import PartitionProcessor
from tables.views.envelope import ServedChain
from web.health import HealthHandlers
from web.owners.forwarding import Forwarding
from web.owners.ownership import OwnedPartitions, Owners
from web.pools.handlers import PoolHandlers
from web.pools.pages import PageHandlers
from web.status import StatusHandler
from web.token import authorization


class HttpApi:
    def __init__(
        self,
        processor: PartitionProcessor,
        owners: Owners,
        served: ServedChain,
        partitions: int,
        token: str | None = None,
    ) -> None:
        owned = OwnedPartitions(processor, owners)
        self._forwarding = Forwarding(owners, partitions, authorization(token))
        self._handlers = (
            PageHandlers(owned, self._forwarding, served),
            PoolHandlers(owned, self._forwarding, served, partitions),
            StatusHandler(owned, owners, self._forwarding, served.name),
            HealthHandlers(owned, owners),
        )

    def routes(self) -> list[web.RouteDef]:
        return [route for handlers in self._handlers for route in handlers.routes()]

    async def close(self) -> None:
        await self._forwarding.close()
