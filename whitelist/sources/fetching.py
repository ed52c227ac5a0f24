"""An answer of the outside world as bytes: from a URL or a file, within its time, or a sentence about why not."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp

LARGEST_ANSWER_BYTES = 64 * 2**20


class SourceFailed(Exception):
    """The source gave no answer that can be used."""


async def fetch(url: str, timeout_s: float, post: bytes | None = None) -> bytes:
    """http(s)://, file:// or a path; with `post` that JSON is sent. Raises SourceFailed."""
    if not url.startswith(("http://", "https://")):
        return await asyncio.to_thread(_read, url)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session:
            return await _exchange(session, url, post)
    except TimeoutError as error:
        raise SourceFailed(f"{_public(url)} gave no answer within {timeout_s:g} s") from error
    except (aiohttp.ClientError, aiohttp.InvalidURL, OSError, ValueError) as error:
        raise SourceFailed(f"{_public(url)}: {error or type(error).__name__}") from error


def completed(url: str, path: str) -> str:
    """With the path and query of the known endpoint where the URL names only its server, or the first part of it."""
    if not url.startswith(("http://", "https://")):
        return url
    given, known = urlsplit(url), urlsplit(path)
    if given.query or not _begins(known.path, given.path):
        return url
    return urlunsplit((given.scheme, given.netloc, known.path, known.query, ""))


def _begins(whole: str, part: str) -> bool:
    names = [name for name in part.split("/") if name]
    return [name for name in whole.split("/") if name][: len(names)] == names


async def _exchange(session: aiohttp.ClientSession, url: str, post: bytes | None) -> bytes:
    headers = {"Accept": "application/json"} | ({} if post is None else {"Content-Type": "application/json"})
    async with session.request("GET" if post is None else "POST", url, data=post, headers=headers) as response:
        body = bytearray()
        async for chunk in response.content.iter_chunked(1 << 16):
            body += chunk
            if len(body) > LARGEST_ANSWER_BYTES:
                raise SourceFailed(f"{_public(url)} gave more than {LARGEST_ANSWER_BYTES} bytes")
    if response.status != 200:
        raise SourceFailed(f"{_public(url)} answered HTTP {response.status}: {bytes(body[:100])!r}")
    return bytes(body)


def _read(url: str) -> bytes:
    path = Path(urlsplit(url).path if url.startswith("file://") else url)
    try:
        if path.stat().st_size > LARGEST_ANSWER_BYTES:
            raise SourceFailed(f"{path} is larger than {LARGEST_ANSWER_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise SourceFailed(f"{path} cannot be read: {error.strerror or error}") from error


def _public(url: str) -> str:
    """Without what may be a key."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
