"""One build: tokens from their sources, pools from the factories, depths and prices at one block, and the decisions."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from protocols.types import NATIVE, Block
from settings import Settings
from streams.node.client import Node
from streams.node.state.pinned_state import BlockGone, PinnedState
from streams.node.state.probe import probe_capabilities
from whitelist.configuration import Configuration, Sources
from whitelist.metrics import STEP_SECONDS
from whitelist.pools.decisions import Decisions, decide_pools, pool_metadata
from whitelist.pools.factory_scan import FactoryScanner, ScanProgress
from whitelist.pools.pool_index import PoolIndex, open_index
from whitelist.pools.selection import Rejected, SelectionRules, skip_reason
from whitelist.publication.store import Build, Published, WhitelistStore, listed_ids
from whitelist.sources.cache import Answer, SourceCache
from whitelist.sources.results import SourceCollector, SourceReport
from whitelist.tokens.chosen import ListedToken, chosen_tokens, display_names, unresolved_tokens
from whitelist.tokens.metadata import read_tokens
from whitelist.tokens.selection import SelectedTokens, SourceResults, chain_of, select_tokens

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""Blocks to try before giving up, where reorgs replace each while it is read."""
MAX_HEAD_AGE_BLOCKS = 8
"""After a longer scan the new blocks are scanned too, so that the block to read at is recent."""
MAX_SKIPPED_POOLS = 10_000
"""Pools with a token that no source chose and that a build reports, the newest; a chain has hundreds of thousands."""


class BuildFailed(Exception):
    """Reorgs replaced every block that was tried."""


async def build(
    settings: Settings, configuration: Configuration, node: Node, progress: ScanProgress, max_age_s: float = 0.0
) -> Build:
    """Saves the build too. `max_age_s`: up to this age the sources' cached answers are used.

    Raises BuildFailed, WrongChain, NodeUnavailable, and what reading and scanning raise.
    """
    store = WhitelistStore(settings)
    with open_index(store.pools) as index:
        builder = _Builder(configuration, store, node, index, FactoryScanner(node, index, progress))
        for _ in range(ATTEMPTS):
            try:
                made = await builder.build(max_age_s)
            except BlockGone as error:
                log.warning("%s; building again", error)
            else:
                store.save_build(made)
                return made
    raise BuildFailed(f"the chain changed during each of {ATTEMPTS} attempts to build a list")


class _Builder(msgspec.Struct, frozen=True):
    configuration: Configuration
    store: WhitelistStore
    node: Node
    index: PoolIndex
    scanner: FactoryScanner

    async def build(self, max_age_s: float) -> Build:
        chain = chain_of(await self.node.chain_id(), self.configuration)
        head = await self._scan_factories()
        results, answers = await self._collect_sources(head, max_age_s)
        selected = select_tokens(results, self.configuration, chain)
        pinned = PinnedState(self.node, head, await probe_capabilities(self.node, head))
        tokens, unresolved = await self._read_tokens(pinned, selected)
        published = self.store.published()
        rules = SelectionRules(self.configuration, display_names(tokens), selected.tokens, listed_ids(published))
        decisions = await self._decide(pinned, rules, tokens)
        await pinned.check_chain()
        skipped, omitted = self._skipped(decisions, rules, tokens, unresolved)
        return Build(
            snapshot_id=_next_snapshot_id(published),
            block=head,
            tokens=[token for token in tokens.values() if token.address != NATIVE],
            sources=_source_reports(answers, selected),
            pools=decisions.listed,
            metadata=[pool_metadata(listed.pool, tokens) for listed in decisions.listed],
            rejected=[*decisions.rejected, *skipped],
            omitted=omitted,
            unresolved=unresolved,
        )

    async def _scan_factories(self) -> Block:
        """The head up to which every factory is scanned."""
        with STEP_SECONDS.labels("scan").time():
            while True:
                head = await self._head()
                await self.scanner.scan(self.configuration.factories, head)
                if (await self._head()).number - head.number <= MAX_HEAD_AGE_BLOCKS:
                    return head

    async def _head(self) -> Block:
        header = await self.node.header("latest")
        if header is None:
            raise BlockGone("the node has no block at all")
        return Block(header.number, header.hash)

    async def _collect_sources(self, head: Block, max_age_s: float) -> tuple[SourceResults, dict[str, Answer[Any]]]:
        cache = SourceCache(self.store.source_answers)
        with STEP_SECONDS.labels("sources").time():
            return await SourceCollector(self.configuration, cache, self.node, head.number, max_age_s).collect()

    async def _read_tokens(
        self, pinned: PinnedState, selected: SelectedTokens
    ) -> tuple[dict[str, ListedToken], dict[str, str]]:
        """The tokens by address, and why others are not chosen."""
        with STEP_SECONDS.labels("tokens").time():
            facts = await read_tokens(pinned, selected.tokens)
        tokens = chosen_tokens(selected, facts, self.configuration)
        return tokens, unresolved_tokens(selected, facts, self.configuration)

    async def _decide(self, pinned: PinnedState, rules: SelectionRules, tokens: Mapping[str, ListedToken]) -> Decisions:
        candidates = self.index.of_tokens([*tokens, NATIVE], self._factories)
        with STEP_SECONDS.labels("filter").time():
            return await decide_pools(pinned, rules, candidates, tokens)

    def _skipped(
        self,
        decisions: Decisions,
        rules: SelectionRules,
        tokens: Mapping[str, ListedToken],
        unresolved: Mapping[str, str],
    ) -> tuple[list[Rejected], int]:
        """Pools that were no candidates: the newest, those listed before, and the number of all others."""
        decided = {each.pool.id for each in decisions.listed} | {each.pool.id for each in decisions.rejected}
        newest = self.index.outside_tokens([*tokens, NATIVE], self._factories, MAX_SKIPPED_POOLS)
        pools = {pool.id: pool for pool in newest}
        for pool_id in rules.listed - decided - pools.keys():
            if (pool := self.index.pool(pool_id)) is not None:
                pools[pool_id] = pool
        skipped = [Rejected(pool, skip_reason(pool, tokens, unresolved)) for pool in pools.values()]
        counted = sum(pool.factory in self._factories for pool in pools.values())
        return skipped, self.index.count(self._factories) - len(decided) - counted

    @property
    def _factories(self) -> list[str]:
        return [factory.address for factory in self.configuration.factories]


def _next_snapshot_id(published: Published | None) -> int:
    return max(time.time_ns() // 1_000_000, published.snapshot_id + 1 if published else 0)


def _source_reports(answers: Mapping[str, Answer[Any]], selected: SelectedTokens) -> dict[str, SourceReport]:
    counts = {name: sum(name in names for names in selected.tokens.values()) for name in (*answers, "trusted")}
    reports = {
        name: SourceReport(answer.status, answer.age_s, counts[name], answer.error) for name, answer in answers.items()
    }
    disabled = {name: SourceReport("disabled", None, 0) for name in Sources.model_fields if name not in answers}
    return {**reports, **disabled, "trusted": SourceReport("ok", 0.0, counts["trusted"])}
