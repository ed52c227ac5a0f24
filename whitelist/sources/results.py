"""All token sources asked at once; what each says now or said last, and how it fared."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec

from streams.node.client import Node, connect
from whitelist.configuration import Configuration, TokenLists, TopTransfers
from whitelist.sources import coingecko, hyperliquid, lighter, token_lists, top_transfers
from whitelist.sources.cache import Answer, Kept, Status
from whitelist.sources.fetching import fetch
from whitelist.sources.query import Question
from whitelist.tokens.selection import SourceResults

T = TypeVar("T")


class SourceReport(msgspec.Struct, frozen=True):
    status: Literal["ok", "stale", "failed", "disabled"]
    age_s: float | None
    """Since the source gave the answer that is used; None where there is none."""
    tokens: int
    """How many tokens it chose."""
    error: str | None = None


WORSE: Sequence[Status] = ("ok", "stale", "failed")
"""The best first."""


class Hearing(msgspec.Struct, frozen=True):
    """Asks the sources that are enabled; an answer younger than `young_s` is not asked for again."""

    configuration: Configuration
    kept: Kept
    node: Node
    last_block: int
    young_s: float = 0.0

    async def hear(self) -> tuple[SourceResults, dict[str, Answer[Any]]]:
        """What was heard, and the answers of the enabled sources by name."""
        sources = self.configuration.sources
        asking: dict[str, Awaitable[Answer[Any]]] = {}
        if (cross := sources.cross_chain) is not None and cross.enabled:
            asking["cross_chain"] = self._answer("cross_chain", cross, coingecko.QUESTION, coingecko.read)
        if (perpetuals := sources.hyperliquid) is not None and perpetuals.enabled:
            asking["hyperliquid"] = self._answer("hyperliquid", perpetuals, hyperliquid.QUESTION, hyperliquid.read)
        if (rates := sources.lighter) is not None and rates.enabled:
            asking["lighter"] = self._answer("lighter", rates, lighter.QUESTION, lighter.read)
        if (top := sources.top_transfers) is not None and top.enabled:
            asking["top_transfers"] = self._transfers(top)
        if (lists := sources.token_lists) is not None and lists.enabled:
            asking["token_lists"] = self._lists(lists)
        answers = dict(zip(asking, await asyncio.gather(*asking.values()), strict=True))
        values = {name: answer.value for name, answer in answers.items() if answer.value is not None}
        return SourceResults(
            coins=values.get("cross_chain", ()),
            listed=values.get("token_lists", ()),
            hyperliquid=values.get("hyperliquid", ()),
            lighter=values.get("lighter", ()),
            transfers=values.get("top_transfers", {}),
        ), answers

    async def _answer(self, name: str, source: Any, question: Question, read: Callable[[bytes], T]) -> Answer[T]:
        return await self.kept.answer(
            name, source.url, lambda: fetch(source.url, question, source.timeout_s), read, young_s=self.young_s
        )

    async def _lists(self, source: TokenLists) -> Answer[list[token_lists.ListedToken]]:
        answers = await asyncio.gather(
            *(
                self.kept.answer(
                    "token_lists",
                    url,
                    partial(fetch, url, token_lists.QUESTION, source.timeout_s),
                    token_lists.read,
                    young_s=self.young_s,
                )
                for url in source.urls
            )
        )
        return joined(answers)

    async def _transfers(self, source: TopTransfers) -> Answer[dict[str, int]]:
        async def ask() -> bytes:
            if source.url is None:
                return await top_transfers.ask(self.node, self.last_block, source.blocks, source.timeout_s)
            async with connect(source.url, source.timeout_s) as node:
                return await top_transfers.ask(node, self.last_block, source.blocks, source.timeout_s)

        asked = f"{source.url} {source.blocks}"
        return await self.kept.answer("top_transfers", asked, ask, top_transfers.read, young_s=self.young_s)


def joined(answers: Sequence[Answer[list[T]]]) -> Answer[list[T]]:
    """Of several lists as one source: as good as the worst of them, and as old as the oldest."""
    ages = [answer.age_s for answer in answers if answer.age_s is not None]
    errors = [answer.error for answer in answers if answer.error is not None]
    statuses: list[Status] = [answer.status for answer in answers]
    status: Status = max(statuses, key=WORSE.index, default="ok")
    value = [entry for answer in answers for entry in answer.value or ()]
    return Answer(status, value, max(ages, default=None), "; ".join(errors) or None)
