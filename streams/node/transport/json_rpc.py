"""JSON-RPC 2.0 messages: requests to bytes, answers out of bytes, matched by id."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

Calls = Sequence[tuple[str, Any]]
"""Method and parameters."""
Response = dict[str, Any]

MAX_ANSWER_BYTES = 256 * 2**20
"""An answer of more is refused before it fills the memory."""


class Transport(Protocol):
    """How requests travel. Every failure to get an answer is a ConnectionError."""

    async def exchange(self, calls: Calls) -> list[Response]:
        """The answers in the order of the calls; a single answer without id if the node refuses the batch as such."""

    async def close(self) -> None: ...


class UnreadableAnswer(ConnectionError):
    """Bytes that are no JSON-RPC answer."""


class TooManyRequests(ConnectionError):
    """The server refuses the request as such by a rate limit."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def encode(ids: Sequence[int], calls: Calls) -> bytes:
    requests = [
        {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        for request_id, (method, params) in zip(ids, calls, strict=True)
    ]
    return _ENCODER.encode(requests[0] if len(requests) == 1 else requests)


def decode(body: bytes | str) -> list[Response]:
    """One message, or the messages of a batch. Raises UnreadableAnswer."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"no JSON: {body[:200]!r}") from error
    messages = value if isinstance(value, list) else [value]
    if not all(isinstance(message, dict) for message in messages):
        raise UnreadableAnswer(f"no JSON-RPC: {body[:200]!r}")
    return messages


def in_order(ids: Sequence[int], answers: Sequence[Response]) -> list[Response]:
    """Raises UnreadableAnswer where an answer is missing, or given twice."""
    if len(answers) == 1 and answers[0].get("id") is None:
        return list(answers)
    if len(ids) == len(answers) == 1 and answers[0].get("id") == ids[0]:
        return list(answers)
    given = [answer_id for answer in answers if (answer_id := id_of(answer)) is not None]
    if len(set(given)) < len(given):
        raise UnreadableAnswer(f"the node answered {len(given) - len(set(given))} of {len(ids)} requests twice")
    by_id = {id_of(answer): answer for answer in answers}
    missing = [request_id for request_id in ids if request_id not in by_id]
    if missing:
        raise UnreadableAnswer(f"the node left {len(missing)} of {len(ids)} requests unanswered")
    return [by_id[request_id] for request_id in ids]


def is_answer(message: Response) -> bool:
    return "result" in message or "error" in message


def id_of(message: Response) -> int | None:
    """None for a notification, and for an id that is none of ours."""
    given = message.get("id")
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def error_text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _to_json(value: Any) -> Any:
    """What web3 puts into parameters: HexBytes and AttributeDict."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"{type(value).__name__} in the parameters of a JSON-RPC call")


_ENCODER = msgspec.json.Encoder(enc_hook=_to_json)
