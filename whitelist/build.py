"""One build: tokens from their sources, pools from the factories, depths and prices at one block, and the decisions."""

import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from protocols.types import NATIVE, Block, PoolId, PoolMetadata, Token
from settings import Settings
from streams.node.client import Node
from streams.node.pinned_state import BlockGone, PinnedState, probe_capabilities
from streams.node.rate_limits import with_rate_limit_retry
from streams.snapshots.contract_checks import NoState
from whitelist.configuration import Configuration, Sources
from whitelist.metrics import STEP_SECONDS
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.pools.factory_scan import Progress, Scanner
from whitelist.pools.pool_index import PoolIndex, opened
from whitelist.pools.selection import Listed, Rejected, Rules
from whitelist.pools.skip_reasons import unchosen
from whitelist.pricing.depth_reader import depths
from whitelist.pricing.depths import Depth
from whitelist.pricing.prices import MICRO, Market, anchor_price, spread
from whitelist.publication.store import Build, ListedToken, WhitelistStore, listed_ids
from whitelist.sources.cache import Answer, Kept
from whitelist.sources.results import Hearing, SourceReport
from whitelist.tokens.metadata import NoToken, TokenFacts, read_tokens
from whitelist.tokens.selection import Chosen, chain_of, choose

log = logging.getLogger(__name__)

TRIES = 5
"""A block that is replaced while it is read is given up for another one, so often."""
FRESH_BLOCKS = 8
"""A scan that took longer is followed by another, so that the block read at is a recent one."""
MOST_UNCHOSEN = 10_000
"""So many pools with a token that nobody chose are told of, the newest; a chain has hundreds of thousands."""
NATIVE_TOKEN = Token(NATIVE, 18, "ETH")


class Unbuilt(Exception):
    """There is no block that stays long enough to be read at."""


async def build(
    settings: Settings, configuration: Configuration, node: Node, progress: Progress, young_s: float = 0.0
) -> Build:
    """Kept on disk too. Raises Unbuilt, NodeUnavailable, and what reading and scanning raise of a node that refuses."""
    place = WhitelistStore(settings)
    with opened(place.pools) as found:
        builder = _Builder(configuration, place, node, found, Scanner(node, found, progress))
        for _ in range(TRIES):
            try:
                made = await builder.build(young_s)
            except BlockGone as error:
                log.warning("%s; building again", error)
            else:
                place.keep_build(made)
                return made
    raise Unbuilt(f"the chain changed under each of {TRIES} tries to build a list")


class _Builder(msgspec.Struct, frozen=True):
    configuration: Configuration
    place: WhitelistStore
    node: Node
    found: PoolIndex
    scanner: Scanner

    @property
    def _factories(self) -> list[str]:
        return [factory.address for factory in self.configuration.factories]

    async def build(self, young_s: float) -> Build:
        published = self.place.published()
        with STEP_SECONDS.labels("scan").time():
            head = await self._scanned()
        chain = chain_of(int(await self.node.call("eth_chainId", []), 16), self.configuration)
        with STEP_SECONDS.labels("sources").time():
            hearing = Hearing(self.configuration, Kept(self.place.answers), self.node, head.number, young_s)
            heard, answers = await hearing.hear()
        chosen = choose(heard, self.configuration, chain)
        pinned = PinnedState(self.node, head, await probe_capabilities(self.node, head))
        with STEP_SECONDS.labels("tokens").time():
            facts = await read_tokens(pinned, chosen.tokens)
        tokens = _tokens(chosen, facts, self.configuration)
        rules = Rules(self.configuration, _names(tokens), chosen.tokens, listed_ids(published))
        with STEP_SECONDS.labels("filter").time():
            listed, rejected = await self._decided(pinned, rules, tokens)
        await pinned.check_chain()
        unresolved = _unresolved(chosen, facts, self.configuration)
        looked_at = {each.pool.id for each in listed} | {each.pool.id for each in rejected}
        unlisted = [
            Rejected(pool, unchosen(pool, tokens, unresolved))
            for pool in self._others([*tokens, NATIVE], rules.listed - looked_at)
        ]
        return Build(
            snapshot_id=max(time.time_ns() // 1_000_000, published.snapshot_id + 1 if published else 0),
            block=head,
            tokens=[each for each in tokens.values() if each.address != NATIVE],
            sources=_reports(self.configuration.sources, answers, chosen),
            pools=listed,
            metadata=[_metadata(each.pool, tokens) for each in listed],
            rejected=[*rejected, *unlisted],
            untold=self.found.count(self._factories) - len(looked_at) - self._known(unlisted),
            unresolved=unresolved,
        )

    def _others(self, tokens: Sequence[str], gone: Collection[PoolId]) -> list[DiscoveredPool]:
        """The newest with a token that is not chosen, and those that were listed and are not looked at any more."""
        others = {pool.id: pool for pool in self.found.others(tokens, self._factories, MOST_UNCHOSEN)}
        found = {pool: self.found.pool(pool) for pool in gone if pool not in others}
        return [*others.values(), *(pool for pool in found.values() if pool is not None)]

    def _known(self, rejected: Sequence[Rejected]) -> int:
        return sum(each.pool.factory in self._factories for each in rejected)

    async def _scanned(self) -> Block:
        """The head, with every pool up to it found."""
        while True:
            head = await self._head()
            await self.scanner.scan(self.configuration.factories, head)
            if (await self._head()).number - head.number <= FRESH_BLOCKS:
                return head

    async def _head(self) -> Block:
        header = await with_rate_limit_retry(lambda: self.node.header("latest"))
        if header is None:
            raise BlockGone("the node has no block at all")
        return Block(header.number, header.hash)

    async def _decided(
        self, pinned: PinnedState, rules: Rules, tokens: Mapping[str, ListedToken]
    ) -> tuple[list[Listed], list[Rejected]]:
        candidates = self.found.trading([*tokens, NATIVE], self._factories)
        forbidden = {pool.id: reason for pool in candidates if (reason := rules.forbids(pool)) is not None}
        allowed = [pool for pool in candidates if pool.id not in forbidden]
        read = await depths(pinned, [_metadata(pool, tokens) for pool in allowed])
        prices = self._prices(allowed, read, tokens)
        decisions: list[Listed | Rejected] = [
            Rejected(pool, forbidden[pool.id]) for pool in candidates if pool.id in forbidden
        ]
        for pool in allowed:
            known = read[pool.id]
            if isinstance(known, NoState):
                decisions.append(Rejected(pool, known.reason))
            else:
                decisions.append(rules.decide(pool, known, prices))
        listed = [each for each in decisions if isinstance(each, Listed)]
        listed.sort(key=lambda each: (-each.liquidity_micro_usd, each.pool.id))
        return listed, [each for each in decisions if isinstance(each, Rejected)]

    def _prices(
        self,
        pools: Sequence[DiscoveredPool],
        read: Mapping[PoolId, Depth | NoState | None],
        tokens: Mapping[str, ListedToken],
    ) -> dict[str, int]:
        """Hooks can make any price, so what has some tells none. The coin and its wrapping are one token."""
        wrapped = [each.address for each in self.configuration.trusted if each.is_wrapped_native]
        anchors = {
            NATIVE if each.address in wrapped else each.address: anchor_price(each.usd, tokens[each.address].decimals)
            for each in self.configuration.trusted
            if each.usd is not None and each.address in tokens
        }
        if not anchors:
            log.warning("No trusted token has a price (usd), so no token has one and no pool can be listed")
        markets = [
            Market(pool.id, (_one(pool.token0, wrapped), _one(pool.token1, wrapped)), known)
            for pool in pools
            if pool.hooks == NATIVE and isinstance(known := read[pool.id], Depth)
        ]
        prices = spread(anchors, markets, int(self.configuration.price_depth_usd * MICRO))
        return prices | {each: prices[NATIVE] for each in wrapped if NATIVE in prices}


def _one(token: str, wrapped: Sequence[str]) -> str:
    return NATIVE if token in wrapped else token


def _tokens(
    chosen: Chosen, facts: Mapping[str, TokenFacts | NoToken], configuration: Configuration
) -> dict[str, ListedToken]:
    """With the chain's coin, unless that is blocked."""
    tokens = {
        address: ListedToken(address, fact.symbol, fact.decimals, chosen.tokens[address])
        for address, fact in facts.items()
        if isinstance(fact, TokenFacts)
    }
    if NATIVE not in configuration.blocked:
        tokens[NATIVE] = ListedToken(NATIVE, NATIVE_TOKEN.symbol, 18, ())
    return tokens


def _names(tokens: Mapping[str, ListedToken]) -> dict[str, str]:
    """A symbol that several chosen tokens have names none of them."""
    counts = Counter(token.symbol for token in tokens.values())
    return {
        address: token.symbol if token.symbol and counts[token.symbol] == 1 else address
        for address, token in tokens.items()
    }


def _unresolved(
    chosen: Chosen, facts: Mapping[str, TokenFacts | NoToken], configuration: Configuration
) -> dict[str, str]:
    no_tokens = {each: fact.reason for each, fact in facts.items() if isinstance(fact, NoToken)}
    return {**chosen.unresolved, **no_tokens, **{each: f"{each} is blocked" for each in configuration.blocked}}


def _metadata(pool: DiscoveredPool, tokens: Mapping[str, ListedToken]) -> PoolMetadata:
    token0, token1 = (
        Token(each.address, each.decimals, each.symbol) for each in (tokens[pool.token0], tokens[pool.token1])
    )
    return PoolMetadata(pool.id, pool.protocol, token0, token1, pool.fee, pool.tick_spacing, pool.factory)


def _reports(sources: Sources, answers: Mapping[str, Answer[Any]], chosen: Chosen) -> dict[str, SourceReport]:
    counts = {name: sum(name in names for names in chosen.tokens.values()) for name in (*answers, "trusted")}
    reports = {
        name: SourceReport(answer.status, answer.age_s, counts[name], answer.error) for name, answer in answers.items()
    }
    disabled = {name: SourceReport("disabled", None, 0) for name in Sources.__struct_fields__ if name not in answers}
    return {**reports, **disabled, "trusted": SourceReport("ok", 0.0, counts["trusted"])}
