"""What every source has in common: the request, the address format and the failure. PURE."""

from urllib.parse import urlsplit, urlunsplit

import msgspec

from protocols.types import ADDRESS, NATIVE


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


def _starts_with(path: str, prefix: str) -> bool:
    names = [name for name in prefix.split("/") if name]
    return [name for name in path.split("/") if name][: len(names)] == names
