"""What a check finds: a sentence, how bad it is, and what to do."""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from settings import Settings

Level = Literal["ok", "warning", "problem"]


class Finding(msgspec.Struct, frozen=True):
    area: str
    """node, kafka, nats, exex or machine."""
    level: Level
    """problem: the system does not work with it, or gives up what it promises; warning: worth knowing."""
    fact: str
    advice: str | None = None


class Findings:
    """Collects what the checks of one area find."""

    def __init__(self, area: str) -> None:
        self.area = area
        self.all: list[Finding] = []

    def ok(self, fact: str) -> None:
        self.all.append(Finding(self.area, "ok", fact))

    def warning(self, fact: str, advice: str | None = None) -> None:
        self.all.append(Finding(self.area, "warning", fact, advice))

    def problem(self, fact: str, advice: str | None = None) -> None:
        self.all.append(Finding(self.area, "problem", fact, advice))


Check = Callable[[Settings, Findings], Awaitable[None]]
"""Adds to the findings; what it raises is a problem of its own."""
