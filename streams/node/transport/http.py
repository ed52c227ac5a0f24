"""JSON-RPC over HTTP: one POST per request or batch, over kept connections."""

import itertools

import aiohttp
from yarl import URL

from streams.node.metrics import RECEIVED, SENT
from streams.node.rate_limits import retry_after_header_s
from streams.node.transport.json_rpc import (
    MAX_ANSWER_BYTES,
    Calls,
    Response,
    TooManyRequests,
    UnreadableAnswer,
    decode,
    encode,
    error_text,
    in_order,
    is_answer,
)


class HttpTransport:
    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = URL(url)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._ids = itertools.count(1)

    async def exchange(self, calls: Calls) -> list[Response]:
        ids = [next(self._ids) for _ in calls]
        status, body, retry_after = await self._post(encode(ids, calls))
        if status == 429:
            raise TooManyRequests(f"HTTP 429: {body[:200]!r}", retry_after_header_s(retry_after))
        try:
            answers = decode(body)
            in_call_order = in_order(ids, answers)
        except UnreadableAnswer as error:
            raise ConnectionError(f"HTTP {status}: {error}") from error
        if status >= 500 or not all(map(is_answer, answers)):
            raise ConnectionError(f"HTTP {status}: {body[:200]!r}")
        return in_call_order

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, request: bytes) -> tuple[int, bytes, str | None]:
        """Status, body, and the header Retry-After."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers={"Content-Type": "application/json"})
        try:
            SENT.inc(len(request))
            async with self._session.post(self._url, data=request) as response:
                body = await _limited(response)
                RECEIVED.inc(len(body))
                return response.status, body, response.headers.get("Retry-After")
        except TimeoutError as error:
            raise ConnectionError(f"no answer within {self._timeout.total:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionError(error_text(error)) from error


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    is_plain = "Content-Encoding" not in response.headers
    if is_plain and response.content_length is not None and response.content_length <= MAX_ANSWER_BYTES:
        return await response.read()
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise ConnectionError(f"the answer has more than {MAX_ANSWER_BYTES:,} bytes")
    return b"".join(chunks)
