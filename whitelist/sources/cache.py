"""The last good answer of each source, on disk: when a source fails, it is used on and its age is told."""

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
    """Stale: the last good one, as the source fails now. Failed: there never was a good one."""

    status: Status
    value: T | None
    age_s: float | None
    """Since the source gave it."""
    error: str | None = None


class Kept:
    """A directory of answers as they came, one file for each question; the file's time is the answer's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def answer(
        self,
        name: str,
        asked: str,
        fetch: Callable[[], Awaitable[bytes]],
        read: Callable[[bytes], T],
        young_s: float = 0.0,
    ) -> Answer[T]:
        """What the source says now; else what it said last. An answer younger than `young_s` is not asked for again.

        `asked` tells questions apart: a good answer to another one is none. `read` raises SourceFailed for what is no
        good answer.
        """
        place = self._directory / f"{name}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
        if (age_s := _age_s(place)) is not None and age_s < young_s:
            return _last(name, place, read, None)
        try:
            body = await fetch()
            value = read(body)
        except SourceFailed as error:
            return _last(name, place, read, str(error))
        _write(place, body)
        return Answer("ok", value, 0.0)


def _last(name: str, place: Path, read: Callable[[bytes], T], error: str | None) -> Answer[T]:
    age_s = _age_s(place)
    if age_s is None:
        log.error("Source %s: %s; it never gave an answer before, so it chooses nothing", name, error)
        return Answer("failed", None, None, error)
    try:
        value = read(place.read_bytes())
    except (OSError, SourceFailed) as unreadable:
        log.error("Source %s: %s; and its last good answer cannot be read: %s", name, error, unreadable)  # noqa: TRY400  told in full
        return Answer("failed", None, None, error or str(unreadable))
    if error is None:
        return Answer("ok", value, age_s)
    since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(time.time() - age_s))
    log.warning("Source %s: %s; its answer of %s, %s old, is used on", name, error, since, spoken(age_s))
    return Answer("stale", value, age_s, error)


def spoken(age_s: float) -> str:
    for unit, seconds in (("days", 86400), ("h", 3600), ("min", 60)):
        if age_s >= 2 * seconds:
            return f"{age_s / seconds:.0f} {unit}"
    return f"{age_s:.0f} s"


def _age_s(place: Path) -> float | None:
    try:
        return max(0.0, time.time() - place.stat().st_mtime)
    except FileNotFoundError:
        return None


def _write(place: Path, body: bytes) -> None:
    """Whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_suffix(f".{os.getpid()}")
    new.write_bytes(body)
    new.replace(place)
