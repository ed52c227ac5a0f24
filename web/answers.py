"""Answers encoded as JSON, large ones beside the event loop, which must not stand still for more than 20 ms."""

import asyncio
import re
from collections.abc import Callable

import msgspec
from aiohttp import ETag, web
from aiohttp.hdrs import ACCEPT_ENCODING
from aiohttp.web_response import ContentCoding

encode = msgspec.json.encode
JSON = "application/json"
COMPRESSED_FROM_BYTES = 256
COMPRESSED_IN_THREAD_FROM_BYTES = 16 * 1024
REFUSED = re.compile(r"q=0(\.0*)?")


def joined(*parts: msgspec.Struct) -> bytes:
    """One JSON object with the fields of all of them; none may be without fields."""
    return b"{" + b",".join(encode(part)[1:-1] for part in parts) + b"}"


def json_answer(body: msgspec.Struct) -> web.Response:
    return encoded_answer(encode(body))


async def answer_from_thread(body: Callable[[], bytes], etag: ETag | None = None) -> web.Response:
    """`body` may read nothing that the event loop changes."""
    return encoded_answer(await asyncio.to_thread(body), etag)


def encoded_answer(body: bytes, etag: ETag | None = None) -> web.Response:
    response = web.Response(
        body=body, content_type=JSON, charset="utf-8", zlib_executor_size=COMPRESSED_IN_THREAD_FROM_BYTES
    )
    response.etag = etag
    return response


def compress_where_asked(request: web.Request, response: web.StreamResponse) -> None:
    """By gzip, large answers in a thread; the smallest, and streams, stay as they are."""
    if not isinstance(response, web.Response) or response.content_type != JSON or response.status != 200:
        return
    compress(request, response)


def compress(request: web.Request, response: web.Response) -> None:
    """By gzip where the client takes it, large answers in a thread."""
    response.headers["Vary"] = ACCEPT_ENCODING
    is_large = isinstance(response.body, bytes) and len(response.body) >= COMPRESSED_FROM_BYTES
    if is_large and accepts_gzip(request.headers.get(ACCEPT_ENCODING, "")):
        response.enable_compression(ContentCoding.gzip)


def accepts_gzip(accept_encoding: str) -> bool:
    for each in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip() for part in each.split(";"))
        if coding in ("gzip", "x-gzip", "*"):
            return not any(REFUSED.fullmatch(parameter) for parameter in parameters)
    return False
