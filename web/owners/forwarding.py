"""Requests to other workers: about pools of their partitions, and for their part of an answer about all."""

import asyncio
from collections.abc import Mapping

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from web.answers import JSON
from web.errors import HttpError
from web.owners.ownership import Owners

FORWARDED = "X-Arena-Forwarded"
"""Set on a request from one worker to another, which answers for itself or not at all."""
TIMEOUT_S = 5.0


class _Refusal(msgspec.Struct, frozen=True):
    error: str


class Forwarding:
    def __init__(self, owners: Owners, partitions: int, authorization: Mapping[str, str]) -> None:
        self._owners = owners
        self._partitions = partitions
        self._authorization = authorization
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def to_owner(self, request: web.Request, index: int) -> web.StreamResponse:
        url = self._owners.urls().get(index)
        if url is None or url == self._owners.own_url() or FORWARDED in request.headers:
            raise HttpError(503, f"partition {index} is between two workers; ask again")
        status, body = await self._ask(url, request.path_qs)
        headers = {"Retry-After": "1"} if status == 503 else {}
        return web.Response(body=body, status=status, headers=headers, content_type=JSON, charset="utf-8")

    async def to_others(self, request: web.Request) -> list[bytes]:
        """The answers of every other worker; none where it is another worker that asks."""
        if FORWARDED in request.headers:
            return []
        owners = self._owners.urls()
        if missing := sorted(set(range(self._partitions)) - owners.keys() - self._owners.owned()):
            raise HttpError(503, f"partitions {missing} have no owner at the moment")
        urls = sorted(set(owners.values()) - {self._owners.own_url()})
        answers = await asyncio.gather(*(self._ask(url, request.path_qs) for url in urls))
        for status, body in answers:
            if status != 200:
                raise HttpError(status, msgspec.json.decode(body, type=_Refusal).error)
        return [body for _, body in answers]

    async def _ask(self, worker: str, target: str) -> tuple[int, bytes]:
        """The answer as it came: it may be megabytes. Raises HttpError where it is not a worker's."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        if self._session.closed:
            raise HttpError(503, "this worker is stopping; ask another one")
        try:
            url = URL(worker + target, encoded=True)
            async with self._session.get(
                url, headers={FORWARDED: self._owners.own_url(), **self._authorization}
            ) as response:
                if response.content_type != JSON:
                    raise HttpError(503, f"{worker} is not a worker: it answers with {response.content_type}")
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise HttpError(503, f"the worker at {worker} does not answer: {error or type(error).__name__}") from error
