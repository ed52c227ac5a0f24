"""Requests to other workers: about pools of their partitions, and for their part of an answer about all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from web.answers import JSON
from web.errors import ErrorAnswer, HttpError
from web.owners.ownership import Owners

log = logging.getLogger(__name__)

FORWARDED = "X-Arena-Forwarded"
"""Set on a request from one worker to another, which answers for itself or not at all."""
TIMEOUT_S = 5.0
"""Without a byte of an answer."""
UNCOMPRESSED = {"Accept-Encoding": "identity"}
PASSED_ON = ("Accept-Encoding", "If-None-Match")
PASSED_BACK = ("Content-Type", "Content-Encoding", "Content-Length", "ETag", "Retry-After", "Vary")
CHUNK_BYTES = 64 * 1024


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
        """The owner's answer, passed on as its bytes arrive: it may be megabytes."""
        url = self._owners.urls().get(index)
        if url is None or url == self._owners.own_url() or FORWARDED in request.headers:
            raise HttpError(503, f"partition {index} is between two workers; ask again")
        headers = UNCOMPRESSED | {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        body = await request.read() if request.can_read_body else None
        async with self._sent(url, request.method, request.path_qs, body, headers) as answer:
            return await _passed_on(request, answer)

    def owner(self, index: int) -> str | None:
        """The URL of the worker that owns a partition; None for this one. Raises HttpError where nobody does."""
        if index in self._owners.owned():
            return None
        url = self._owners.urls().get(index)
        if url is None or url == self._owners.own_url():
            raise HttpError(503, f"partition {index} is between two workers; ask again")
        return url

    async def get(self, worker: str, path: str) -> bytes:
        """What another worker answers for itself. Raises HttpError, its own where it answers with one."""
        async with self._sent(worker, "GET", path, None, UNCOMPRESSED) as answer:
            return await _body(answer)

    async def post(self, worker: str, path: str, body: bytes) -> bytes:
        """What another worker answers for itself. Raises HttpError, its own where it answers with one."""
        async with self._sent(worker, "POST", path, body, UNCOMPRESSED) as answer:
            return await _body(answer)

    async def to_others(self, request: web.Request) -> list[bytes]:
        """The answers of every other worker; none where it is another worker that asks."""
        if FORWARDED in request.headers:
            return []
        owners = self._owners.urls()
        if missing := sorted(set(range(self._partitions)) - owners.keys() - self._owners.owned()):
            raise HttpError(503, f"partitions {missing} have no owner at the moment")
        urls = sorted(set(owners.values()) - {self._owners.own_url()})
        return await asyncio.gather(*(self._part_of(url, request) for url in urls))

    async def _part_of(self, url: str, request: web.Request) -> bytes:
        body = await request.read() if request.can_read_body else None
        method = "GET" if request.method == "HEAD" else request.method
        async with self._sent(url, method, request.path_qs, body, UNCOMPRESSED) as answer:
            return await _body(answer)

    @asynccontextmanager
    async def _sent(
        self, worker: str, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Raises HttpError where the answer is not a worker's."""
        session = self._connected()
        try:
            async with session.request(
                method,
                URL(worker + target, encoded=True),
                headers={**headers, FORWARDED: self._owners.own_url(), **self._authorization},
                data=body,
            ) as answer:
                if answer.status != 304 and answer.content_type != JSON:
                    raise HttpError(503, f"{worker} is not a worker: it answers with {answer.content_type}")
                yield answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise HttpError(503, f"the worker at {worker} does not answer: {error or type(error).__name__}") from error

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=TIMEOUT_S, sock_read=TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        if self._session.closed:
            raise HttpError(503, "this worker is stopping; ask another one")
        return self._session


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Raises HttpError where it is not one of success."""
    body = await answer.read()
    if answer.status != 200:
        refusal = msgspec.json.decode(body, type=ErrorAnswer)
        raise HttpError(answer.status, refusal.error, refusal)
    return body


async def _passed_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """A client whose owner fails in the middle of its answer sees the connection end too early."""
    headers = {name: answer.headers[name] for name in PASSED_BACK if name in answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    first = await answer.content.readany()
    await response.prepare(request)
    try:
        if first:
            await response.write(first)
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("%s ends in the middle of its answer: %s", answer.url.origin(), error or type(error).__name__)
        if request.transport:
            request.transport.abort()
    return response
