"""What every source has in common: the request, the address format and the failure. Pure."""

from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

import msgspec

from protocols.types import ADDRESS, NATIVE

SHORTEST_SECRET = 6
"""Characters; shorter parts of a URL, as `v3` or `true`, are no keys."""


class SourceFailed(Exception):
    """The source gave no usable answer."""


class SourceRequest(msgspec.Struct, frozen=True):
    endpoint: str = ""
    """Path and query, used where the configured URL names only the server."""
    post: bytes | None = None
    """JSON body; None: a GET."""

    def url(self, given: str) -> str:
        """`given`, completed with the endpoint where it stops before or inside it. Paths are returned unchanged."""
        if not given.startswith(("http://", "https://")):
            return given
        parts, known = urlsplit(given), urlsplit(self.endpoint)
        if parts.query or not _starts_with(known.path, parts.path):
            return given
        return urlunsplit((parts.scheme, parts.netloc, known.path, known.query, ""))


def parse_address(text: str) -> str | None:
    """Lower-case 0x hex; None where `text` is no address, or the native coin's, which no source can choose."""
    lower = text.strip().lower()
    return lower if ADDRESS.fullmatch(lower) and lower != NATIVE else None


def redacted(text: str, url: str, request: SourceRequest | None = None) -> str:
    """`text` without what may be a key of `url`: user, password, query, and a path that is not the request's own."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return text.replace(url, "the URL")
    path = parts.path if request is not None and parts.path == urlsplit(request.endpoint).path else ""
    host = parts.netloc.rpartition("@")[2]
    public = urlunsplit((parts.scheme, host, path or ("/…" if parts.path.strip("/") else ""), "", ""))
    for secret in sorted(_secrets(parts, path), key=len, reverse=True):
        text = text.replace(url, public).replace(secret, "…")
    return text.replace(url, public)


def _secrets(parts: SplitResult, public_path: str) -> list[str]:
    values = [value for _, value in parse_qsl(parts.query)]
    segments = [] if public_path else parts.path.split("/")
    given = [parts.username, parts.password, parts.query, *values, *segments]
    return [secret for secret in given if secret and len(secret) >= SHORTEST_SECRET]


def _starts_with(path: str, prefix: str) -> bool:
    names = [name for name in prefix.split("/") if name]
    return [name for name in path.split("/") if name][: len(names)] == names
