"""The last good answer of each source, on disk: used, with its age, while the source fails."""

import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec

from whitelist.sources.query import SourceFailed

log = logging.getLogger(__name__)

T = TypeVar("T")
Status = Literal["ok", "stale", "failed"]


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """Status `stale`: the last good answer, because the source fails now; `failed`: there is no good answer."""

    status: Status
    value: T | None
    age_s: float | None
    """Since the source gave it."""
    error: str | None = None


class SourceCache:
    """A directory with the raw answers, one file per request; a file's modification time is the answer's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def get(
        self,
        name: str,
        request: str,
        fetch: Callable[[], Awaitable[bytes]],
        parse: Callable[[bytes], T],
        max_age_s: float = 0.0,
    ) -> Answer[T]:
        """The cached answer if it is younger than `max_age_s`, else a new one, else the last good one.

        `request` is part of the key: an answer to another request is never used. `parse` raises SourceFailed for an
        answer that is not good.
        """
        path = self._directory / f"{name}-{hashlib.sha256(request.encode()).hexdigest()[:16]}"
        if (age_s := _age_s(path)) is not None and age_s < max_age_s:
            return _last_good_answer(name, path, parse, None)
        try:
            body = await fetch()
            value = parse(body)
        except SourceFailed as error:
            return _last_good_answer(name, path, parse, str(error))
        _write_atomically(path, body)
        return Answer("ok", value, 0.0)


def _last_good_answer(name: str, path: Path, parse: Callable[[bytes], T], error: str | None) -> Answer[T]:
    age_s = _age_s(path)
    if age_s is None:
        log.error("source %s: %s; it has never given an answer, so it chooses no token", name, error)
        return Answer("failed", None, None, error)
    try:
        value = parse(path.read_bytes())
    except (OSError, SourceFailed) as undecodable:
        log.error("source %s: %s; its last good answer cannot be read: %s", name, error, undecodable)  # noqa: TRY400  the cause is in the line
        return Answer("failed", None, None, error or str(undecodable))
    if error is None:
        return Answer("ok", value, age_s)
    since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(time.time() - age_s))
    log.warning("source %s: %s; using its answer of %s, %s old", name, error, since, age_text(age_s))
    return Answer("stale", value, age_s, error)


def age_text(age_s: float) -> str:
    """In the largest unit of which there are at least two."""
    for unit, seconds in (("days", 86400), ("h", 3600), ("min", 60)):
        if age_s >= 2 * seconds:
            return f"{age_s / seconds:.0f} {unit}"
    return f"{age_s:.0f} s"


def _age_s(path: Path) -> float | None:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return None


def _write_atomically(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_bytes(body)
    new.replace(path)
