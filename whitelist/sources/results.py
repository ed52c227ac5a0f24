"""Asks all enabled token sources at once, and reports the status of each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec

from streams.node.client import Node, connect
from whitelist.configuration import Configuration, TokenLists, TopTransfers
from whitelist.sources import coingecko, hyperliquid, lighter, token_lists, top_transfers
from whitelist.sources.cache import Answer, SourceCache, Status
from whitelist.sources.fetching import fetch
from whitelist.sources.query import SourceRequest
from whitelist.tokens.selection import SourceResults

T = TypeVar("T")


class SourceReport(msgspec.Struct, frozen=True):
    status: Literal["ok", "stale", "failed", "disabled"]
    age_s: float | None
    """Since the source gave the answer in use; None where there is none."""
    tokens: int
    """How many tokens the source chose."""
    error: str | None = None


STATUS_ORDER: Sequence[Status] = ("ok", "stale", "failed")
"""From good to bad."""


class SourceCollector(msgspec.Struct, frozen=True):
    """Asks the enabled sources; an answer younger than `max_age_s` is taken from the cache."""

    configuration: Configuration
    cache: SourceCache
    node: Node
    last_block: int
    max_age_s: float = 0.0

    async def collect(self) -> tuple[SourceResults, dict[str, Answer[Any]]]:
        """The results, and the answers they were taken from, by source."""
        sources = self.configuration.sources
        pending: dict[str, Awaitable[Answer[Any]]] = {}
        if (cross := sources.cross_chain) is not None and cross.enabled:
            pending["cross_chain"] = self._answer("cross_chain", cross, coingecko.REQUEST, coingecko.parse)
        if (perpetuals := sources.hyperliquid) is not None and perpetuals.enabled:
            pending["hyperliquid"] = self._answer("hyperliquid", perpetuals, hyperliquid.REQUEST, hyperliquid.parse)
        if (rates := sources.lighter) is not None and rates.enabled:
            pending["lighter"] = self._answer("lighter", rates, lighter.REQUEST, lighter.parse)
        if (top := sources.top_transfers) is not None and top.enabled:
            pending["top_transfers"] = self._transfers(top)
        if (lists := sources.token_lists) is not None and lists.enabled:
            pending["token_lists"] = self._lists(lists)
        answers = dict(zip(pending, await asyncio.gather(*pending.values()), strict=True))
        values = {name: answer.value for name, answer in answers.items() if answer.value is not None}
        return SourceResults(
            coins=values.get("cross_chain", ()),
            listed=values.get("token_lists", ()),
            hyperliquid=values.get("hyperliquid", ()),
            lighter=values.get("lighter", ()),
            transfers=values.get("top_transfers", {}),
        ), answers

    async def _answer(self, name: str, source: Any, request: SourceRequest, parse: Callable[[bytes], T]) -> Answer[T]:
        return await self.cache.get(
            name, source.url, lambda: fetch(source.url, request, source.timeout_s), parse, self.max_age_s
        )

    async def _lists(self, source: TokenLists) -> Answer[list[token_lists.ListEntry]]:
        fetches = {url: partial(fetch, url, token_lists.REQUEST, source.timeout_s) for url in source.urls}
        answers = await asyncio.gather(
            *(
                self.cache.get("token_lists", url, fetch_list, token_lists.parse, self.max_age_s)
                for url, fetch_list in fetches.items()
            )
        )
        return merge_answers(answers)

    async def _transfers(self, source: TopTransfers) -> Answer[dict[str, int]]:
        async def count() -> bytes:
            if source.url is None:
                return await top_transfers.count_transfers(self.node, self.last_block, source.blocks, source.timeout_s)
            async with connect(source.url, source.timeout_s) as node:
                return await top_transfers.count_transfers(node, self.last_block, source.blocks, source.timeout_s)

        request = f"{source.url} {source.blocks}"
        return await self.cache.get("top_transfers", request, count, top_transfers.parse, self.max_age_s)


def merge_answers(answers: Sequence[Answer[list[T]]]) -> Answer[list[T]]:
    """Several lists as one source: its status is the worst of theirs, its age the highest."""
    ages = [answer.age_s for answer in answers if answer.age_s is not None]
    errors = [answer.error for answer in answers if answer.error is not None]
    statuses: list[Status] = [answer.status for answer in answers]
    status: Status = max(statuses, key=STATUS_ORDER.index, default="ok")
    value = [entry for answer in answers for entry in answer.value or ()]
    return Answer(status, value, max(ages, default=None), "; ".join(errors) or None)
