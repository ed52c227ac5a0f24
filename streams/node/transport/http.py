"""JSON-RPC requests and answers, and how they travel over HTTP. Every failure to get an answer is a ConnectionError."""

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp
import msgspec

from streams.node.metrics import RECEIVED, SENT

Calls = Sequence[tuple[str, list[Any]]]
Response = dict[str, Any]


class Transport(Protocol):
    async def exchange(self, calls: Calls) -> list[Response]:
        """The answers in the order of the calls; a single answer without id if the node refuses the batch as such."""

    async def close(self) -> None: ...


class HttpTransport:
    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._ids = itertools.count(1)

    async def exchange(self, calls: Calls) -> list[Response]:
        ids = [next(self._ids) for _ in calls]
        status, body = await self._post(encode(ids, calls))
        try:
            answers = msgspec.json.decode(body)
        except (ValueError, RecursionError) as error:  # msgspec's own, UnicodeDecodeError, and nesting without end
            raise ConnectionError(f"HTTP {status} and no JSON: {body[:200]!r}") from error
        if status >= 500 or status == 429 or not _is_answer(answers):
            raise ConnectionError(f"HTTP {status}: {body[:200]!r}")
        return _in_order(ids, answers if isinstance(answers, list) else [answers])

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, request: bytes) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers={"Content-Type": "application/json"})
        try:
            SENT.inc(len(request))
            async with self._session.post(self._url, data=request) as response:
                body = await response.read()
                RECEIVED.inc(len(body))
                return response.status, body
        except TimeoutError as error:
            raise ConnectionError(f"no answer within {self._timeout.total:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionError(error_text(error)) from error


def encode(ids: list[int], calls: Calls) -> bytes:
    requests = [
        {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        for request_id, (method, params) in zip(ids, calls, strict=True)
    ]
    return msgspec.json.encode(requests[0] if len(requests) == 1 else requests)


def _is_answer(answers: Any) -> bool:
    return all(isinstance(answer, dict) for answer in answers) if isinstance(answers, list) else "jsonrpc" in answers


def _in_order(ids: list[int], answers: list[Response]) -> list[Response]:
    if len(answers) == 1 and answers[0].get("id") is None:
        return answers
    by_id = {answer.get("id"): answer for answer in answers}
    missing = [request_id for request_id in ids if request_id not in by_id]
    if missing:
        raise ConnectionError(f"the node left {len(missing)} of {len(ids)} requests of a batch unanswered")
    return [by_id[request_id] for request_id in ids]


def error_text(error: BaseException) -> str:
    return str(error) or type(error).__name__
