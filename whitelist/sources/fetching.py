"""Fetches a source's answer as bytes, from a URL or a file, within a time-out."""

import asyncio
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp

from whitelist.sources.query import SourceFailed, SourceRequest, redacted

MAX_ANSWER_BYTES = 64 * 2**20


async def fetch(url: str, request: SourceRequest, timeout_s: float) -> bytes:
    """`url` is http(s)://, file:// or a path. Raises SourceFailed, whose message carries no key of the URL."""
    url = request.url(url)
    if not url.startswith(("http://", "https://")):
        return await asyncio.to_thread(_read, url)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session:
            return await _download(session, url, request.post)
    except TimeoutError:
        failure = f"{url} gave no answer within {timeout_s:g} s"
    except SourceFailed as error:
        failure = str(error)
    except (aiohttp.ClientError, aiohttp.InvalidURL, OSError, ValueError) as error:
        failure = f"{url}: {error or type(error).__name__}"
    raise SourceFailed(redacted(failure, url, request))


async def _download(session: aiohttp.ClientSession, url: str, post: bytes | None) -> bytes:
    headers = {"Accept": "application/json"} | ({} if post is None else {"Content-Type": "application/json"})
    async with session.request("GET" if post is None else "POST", url, data=post, headers=headers) as response:
        body = bytearray()
        async for chunk in response.content.iter_chunked(1 << 16):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise SourceFailed(f"{url} gave more than {MAX_ANSWER_BYTES} bytes")
    if response.status != 200:
        raise SourceFailed(f"{url} answered HTTP {response.status}: {bytes(body[:100])!r}")
    return bytes(body)


def _read(url: str) -> bytes:
    path = Path(unquote(urlsplit(url).path) if url.startswith("file://") else url)
    try:
        if path.stat().st_size > MAX_ANSWER_BYTES:
            raise SourceFailed(f"{path} is larger than {MAX_ANSWER_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise SourceFailed(f"{path} cannot be read: {error.strerror or error}") from error
