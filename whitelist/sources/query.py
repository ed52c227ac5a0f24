"""What a source is asked, and how it fails. PURE."""

from urllib.parse import urlsplit, urlunsplit

import msgspec


class SourceFailed(Exception):
    """The source gave no answer that can be used."""


class Question(msgspec.Struct, frozen=True):
    endpoint: str = ""
    """Path and query, for a URL that names only the server."""
    post: bytes | None = None
    """JSON; None: the question is a GET."""

    def url(self, given: str) -> str:
        """With the endpoint where `given` ends before it, or in it; else, or of a path, what is given."""
        if not given.startswith(("http://", "https://")):
            return given
        parts, known = urlsplit(given), urlsplit(self.endpoint)
        if parts.query or not _begins(known.path, parts.path):
            return given
        return urlunsplit((parts.scheme, parts.netloc, known.path, known.query, ""))


def _begins(whole: str, part: str) -> bool:
    names = [name for name in part.split("/") if name]
    return [name for name in whole.split("/") if name][: len(names)] == names
