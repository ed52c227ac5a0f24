"""URLs with a secret in them: what may be shown of one, and a type that shows nothing else."""

import re
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

SHORTEST_SECRET = 6
"""Characters; shorter path parts (v2, rpc) are words, not keys."""
_SEVERAL = re.compile(r",\s*")
_SERVER = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^:\s]*)(?::\d+)?")
"""What is no host with a port may be half of a password with a reserved character in it."""


class SecretUrl(SecretStr):
    """Address of a server, several by comma, or a path. `str()` gives the public form; `get_secret_value()` all of it.

    The public form is scheme, host and port, with `/…` where a path or a query is left out.
    """

    def __str__(self) -> str:
        return public_form(self.get_secret_value())

    def __repr__(self) -> str:
        return f"SecretUrl('{self}')"

    def scrub(self, text: str) -> str:
        """The text, with whatever is secret of this URL replaced by `…`: for messages of libraries and servers."""
        for secret in _secrets(self.get_secret_value()):
            text = text.replace(secret, "…")
        return text


def public_form(urls: str) -> str:
    return ",".join(map(_public, _SEVERAL.split(urls)))


def _public(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator and url.startswith(("/", ".")):
        return url
    authority, *left_out = re.split(r"[/?#]", rest if separator else url, maxsplit=1)
    server = authority.rpartition("@")[2]
    shown = server if _SERVER.fullmatch(server) else "…"
    return (f"{scheme}://" if separator else "") + shown + ("/…" if any(left_out) else "")


def _secrets(urls: str) -> list[str]:
    """Longest first, so that no part of one is left over."""
    found = set()
    for url in _SEVERAL.split(urls):
        if "://" not in url:
            continue
        parts = urlsplit(url)
        path = [*parts.path.split("/"), parts.path.strip("/")]
        query = [value for _, value in parse_qsl(parts.query)] + [parts.query]
        candidates = [parts.password or "", parts.fragment, *path, *query]
        found |= {each for each in candidates if len(each) >= SHORTEST_SECRET}
    return sorted(found, key=len, reverse=True)
