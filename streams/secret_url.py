"""URLs with a secret in them: what may be shown of one, and a type that shows nothing else."""

import base64
import re
from functools import lru_cache
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

SHORTEST_SECRET = 6
"""Characters; shorter path parts (v2, rpc) are words, not keys."""
TELLING = 8
"""So many characters of a key's beginning are hidden too."""
_SEVERAL = re.compile(r",\s*")
_SERVER = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^:\s]*)(?::\d+)?")
"""What is no host with a port may be half of a password with a reserved character in it."""
_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#@]+@|\beyJ[\w-]+\.[\w-]+\.[\w-]*")
"""The user of any URL, such as a proxy's, and any JSON Web Token."""
_HIDDEN = "…"


class SecretUrl(SecretStr):
    """Address of a server, several by comma, or a path. `str()` gives the public form; `get_secret_value()` all of it.

    The public form is scheme, host and port, with `/…` where a path or a query is left out.
    """

    def __str__(self) -> str:
        return public_form(self.get_secret_value())

    def __repr__(self) -> str:
        return f"SecretUrl('{self}')"

    def scrub(self, text: str) -> str:
        """The text with `…` for whatever is secret of this URL, for users of other URLs and for tokens.

        For messages of libraries and servers, which may quote a key in another case, decoded, or cut off.
        """
        for secret in _secrets(self.get_secret_value()):
            text = _without(secret, text)
        return _CREDENTIALS.sub(_HIDDEN, text)


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


def _without(secret: str, text: str) -> str:
    """Also without its beginning, of TELLING characters or more, where the rest was cut off."""
    beginning = re.compile(re.escape(secret[:TELLING]), re.IGNORECASE)
    kept, position = [], 0
    while found := beginning.search(text, position):
        end = found.end()
        while end < len(text) and text[end].lower() == secret[end - found.start() : end - found.start() + 1].lower():
            end += 1
        kept += [text[position : found.start()], _HIDDEN]
        position = end
    return "".join(kept) + text[position:]


@lru_cache(maxsize=64)
def _secrets(urls: str) -> tuple[str, ...]:
    """Longest first, so that no part of one is left over."""
    found = set()
    for url in _SEVERAL.split(urls):
        if "://" not in url:
            continue
        parts = urlsplit(url)
        path = [*parts.path.split("/"), parts.path.strip("/")]
        query = [value for _, value in parse_qsl(parts.query)] + [parts.query]
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        candidates = [user, password, parts.fragment, *path, *query]
        candidates += map(unquote, (user, password, parts.fragment, *path))
        if user or password:
            candidates.append(base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode())
        found |= {each for each in candidates if len(each) >= SHORTEST_SECRET}
    return tuple(sorted(found, key=len, reverse=True))
