"""The client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeVar

import httpx

from pool_state_arena_client import requests
from pool_state_arena_client.decoding import refusal
from pool_state_arena_client.errors import ArenaError, StreamClosed, Unreachable
from pool_state_arena_client.records import Depth, Pool, PoolsAtBlock, Quote, ServerStatus, Tick
from pool_state_arena_client.requests import PAGE, TIMEOUT_S, At, Request
from pool_state_arena_client.stream.async_mirror import AsyncMirror
from pool_state_arena_client.stream.events import Event, Finality
from pool_state_arena_client.stream.session import SILENCE_S, StreamSession

T = TypeVar("T")


class AsyncArena:
    """A server at a URL. Every method raises ArenaError where it cannot answer."""

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """`token`: what the server asks for as a bearer token (ARENA_WEB_TOKEN)."""
        self._http = httpx.AsyncClient(base_url=url, headers=requests.authorization(token), timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def pool(self, pool_id: str, *, at: At = None, max_age_s: float | None = None) -> Pool:
        return await self._send(requests.pool(pool_id, at, max_age_s))

    async def pools(
        self, *, protocol: str | None = None, status: str | None = None, tokens: Sequence[str] = (), at: At = None
    ) -> AsyncIterator[Pool]:
        """All pools that match, ascending by id, page by page; `tokens`: with any of them."""
        wanted = requests.filters(protocol, status, tokens)
        cursor: str | None = ""
        while cursor is not None:
            page = await self._send(requests.page(wanted, at, PAGE, cursor or None))
            for pool in page.pools:
                yield pool
            cursor = page.next

    async def ticks(self, pool_id: str, *, at: At = None, max_age_s: float | None = None) -> tuple[Tick, ...] | None:
        """Ascending; None while the pool waits."""
        return (await self._send(requests.ticks(pool_id, at, max_age_s))).ticks

    async def query(
        self, ids: Sequence[str], *, at: At = None, ticks: bool = False, max_age_s: float | None = None
    ) -> PoolsAtBlock:
        """Up to 1,000 pools, all as of one block."""
        return await self._send(requests.query(ids, at, ticks, max_age_s))

    async def quote(
        self,
        pool_id: str,
        *,
        token_in: str,
        amount_in: int | None = None,
        amount_out: int | None = None,
        at: At = None,
    ) -> Quote:
        """What a swap brings, or costs where `amount_out` is given; amounts are in the tokens' smallest units."""
        return await self._send(requests.quote(pool_id, token_in, amount_in, amount_out, at))

    async def depth(self, pool_id: str, *, points: int | None = None, at: At = None) -> Depth:
        """What trades of growing size move the price to; `points` on each side at most."""
        return await self._send(requests.depth(pool_id, points, at))

    async def status(self) -> ServerStatus:
        return await self._send(requests.status())

    async def stream(
        self,
        *,
        pools: Sequence[str] = (),
        tokens: Sequence[str] = (),
        protocol: str | None = None,
        finality: Finality = "instant",
        ticks: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """A snapshot, then what changes. Connects again for ever, resumes, and checks that each block follows."""
        session = StreamSession(requests.stream_parameters(pools, tokens, protocol, finality, ticks))
        while True:
            try:
                async with aclosing(self._connection(session)) as events:
                    async for event in events:
                        yield event
            except (ArenaError, httpx.TransportError) as error:
                await asyncio.sleep(session.delay_after(error))

    def mirror(
        self,
        *,
        pools: Sequence[str] = (),
        tokens: Sequence[str] = (),
        protocol: str | None = None,
        finality: Finality = "instant",
        ticks: bool = False,
    ) -> AsyncMirror:
        """A live dict of pools, kept by a task; use it in an `async with` block."""
        session = StreamSession(requests.stream_parameters(pools, tokens, protocol, finality, ticks))
        return AsyncMirror(session, self._connection)

    async def _connection(self, session: StreamSession) -> AsyncGenerator[Event, None]:
        """Until it is lost. Raises ArenaError, httpx.TransportError."""
        timeout = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)
        async with self._http.stream(
            "GET", "/stream", params=list(session.parameters), headers=session.headers(), timeout=timeout
        ) as response:
            if response.status_code != 200:
                raise refusal(response.status_code, await response.aread())
            async for line in response.aiter_lines():
                if event := session.line(line):
                    yield event
        raise StreamClosed("the connection ends")

    async def _send(self, request: Request[T]) -> T:
        try:
            response = await self._http.request(
                request.method, request.path, params=list(request.parameters), content=request.body
            )
        except httpx.TransportError as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error or type(error).__name__}") from error
        if response.status_code != 200:
            raise refusal(response.status_code, response.content)
        return request.read(response.content)
