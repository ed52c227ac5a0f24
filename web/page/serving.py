"""GET / and /page/…: the page for people, files read once at start, without a build step or a foreign address."""

import hashlib
import mimetypes
from pathlib import Path
from typing import NamedTuple

from aiohttp import ETag, web

from web.answers import COMPRESSED_IN_THREAD_FROM_BYTES, compress
from web.errors import HttpError
from web.freshness import not_modified

STATIC = Path(__file__).parent / "static"
PREFIX = "/page/"
SERVED = {".html", ".js", ".css", ".svg"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""A browser asks again each time, and gets 304: a new version of the worker is a new page."""


class StaticFile(NamedTuple):
    media_type: str
    body: bytes
    etag: ETag


class SitePages:
    def __init__(self) -> None:
        self._files = {
            path.relative_to(STATIC).as_posix(): _read(path) for path in STATIC.rglob("*") if path.suffix in SERVED
        }

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/", self._index), web.get(PREFIX + "{file:.+}", self._file)]

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return self._serve(request, "index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._serve(request, request.match_info["file"])

    def _serve(self, request: web.Request, name: str) -> web.StreamResponse:
        found = self._files.get(name)
        if found is None:
            raise HttpError(404, "the page has no such file")
        if known := not_modified(request, found.etag):
            known.headers.update(HEADERS)
            return known
        response = web.Response(
            body=found.body,
            content_type=found.media_type,
            charset="utf-8",
            headers=HEADERS,
            zlib_executor_size=COMPRESSED_IN_THREAD_FROM_BYTES,
        )
        response.etag = found.etag
        compress(request, response)
        return response


def _read(path: Path) -> StaticFile:
    body = path.read_bytes()
    media_type, _ = mimetypes.guess_type(path.name)
    return StaticFile(media_type or "text/plain", body, ETag(hashlib.sha256(body).hexdigest()[:32]))
