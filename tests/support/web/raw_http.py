"""Bytes that are hardly HTTP, sent to a worker over a socket, and what its answers must be."""

import asyncio
import json
from contextlib import suppress
from typing import NamedTuple

SILENCE_S = 0.5

POOL = "0x" + "00" * 20
GET = f"GET /pools/{POOL}/ HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n".encode()
BODY = json.dumps({"ids": [POOL]}).encode()
HEAD = b"POST /pools/query HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n"
POST = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = b"\r\nConnection: close\r\n\r\n"

REFUSED = [
    b"\r\n\r\n\r\n\x00\x00\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"hello\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /nowhere\r\n\r\n",
    b"GET  HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1 extra" + CLOSE,
    b"GET /pools/ HTTX/1.1" + CLOSE,
    b"G\x00T /pools/ HTTP/1.1" + CLOSE,
    b"GET /pools/\x00 HTTP/1.1" + CLOSE,
    b"GET /pools/ HTTP/1.1\r\nHost\r\n\r\n",
    b"GET /pools/ HTTP/1.1\r\n: value" + CLOSE,
    b"GET /pools/ HTTP/1.1\r\nX: a\x00b" + CLOSE,
    b"GET /pools/ HTTP/1.1\r\nX Y: z" + CLOSE,
    b"GET /pools/ HTTP/1.1\r\nContent-Length: -1" + CLOSE,
    b"GET /pools/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2" + CLOSE,
    b"GET /pools/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked" + CLOSE,
    b"GET /pools/ HTTP/1.1\r\nX: " + b"a" * 20_000 + CLOSE,
    b"GET /pools/?" + b"a" * 20_000 + b" HTTP/1.1" + CLOSE,
    b"GET http://[::1/ HTTP/1.1" + CLOSE,
    b"GET http://worker:99999/ HTTP/1.1" + CLOSE,
    b"GET //[ HTTP/1.1" + CLOSE,
    b"CONNECT / HTTP/1.1" + CLOSE,
    b"GET /pools/ HTTP/1.1\r\nExpect: the-unexpected" + CLOSE,
    b"GET /pools/%zz/ HTTP/1.1" + CLOSE,
    b"GET /pools/% HTTP/1.1" + CLOSE,
    b"GET /pools/%00/ HTTP/1.1" + CLOSE,
    b"GET /%ff%fe HTTP/1.1" + CLOSE,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
HANDLED = [
    GET[:-4] + b"\r\nX: \xff\xfe" + CLOSE,
    GET[:-4] + b"\r\nAuthorization: Bearer \xed\xa0\x80" + CLOSE,
    GET[:-4] + b"\r\nCookie: \x80=\x81; ;;=" + CLOSE,
    GET[:-4] + b"\r\nUpgrade: websocket" + CLOSE,
    GET[:-4] + b'\r\nIf-None-Match: "' + CLOSE,
    GET[:-4] + b"\r\nIf-None-Match: W/*,\xff" + CLOSE,
    GET[:-4] + b"\r\nAccept-Encoding: \xff, gzip;q=x" + CLOSE,
    GET[:-4] + b"\r\nRange: bytes=9-1" + CLOSE,
    GET[:-4] + b"\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(500)) + b"\r\n",
    CHUNKED + b"zz\r\n\r\n",
    CHUNKED + b"5\r\nhello0\r\n\r\n",
    CHUNKED + b"ffffffffffffffffffff\r\n",
    CHUNKED + b"1" * 20_000,
    POST.replace(b"Host", b"Content-Encoding: gzip\r\nHost"),
    POST.replace(b"Host", b"Content-Encoding: br\r\nHost"),
    POST.replace(b"Host", b"Content-Type: \xff; charset=\xfe\r\nHost"),
    POST.replace(b"Host", b"Content-Type: application/json; charset=no-such\r\nHost"),
    POST[:-10],
]


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes


async def answers(address: tuple[str, int], data: bytes) -> list[Answer]:
    """All that the worker sends before it closes; what waits for more bytes is ended by the client."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    received = await _read(reader)
    writer.close()
    return list(_split(received))


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Until the worker closes, or is silent: a request that is not whole has no answer."""
    received = b""
    with suppress(TimeoutError, ConnectionResetError):
        while True:
            async with asyncio.timeout(SILENCE_S):
                data = await reader.read(1 << 16)
            if not data:
                break
            received += data
    return received


def _split(received: bytes) -> list[Answer]:
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        status = int(first.split()[1])
        length = int(fields.get("content-length", 0))
        if status != 100:
            found.append(Answer(status, fields.get("content-type", ""), rest[:length]))
        received = rest[length:]
    return found


def assert_answered(answer: Answer) -> None:
    assert answer.status < 500, answer
    if answer.status >= 400 and answer.body:
        assert answer.content_type.startswith("application/json"), answer
        sentence = json.loads(answer.body)["error"]
        assert " " in sentence
        assert "Traceback" not in sentence
        assert len(sentence) < 10_000
