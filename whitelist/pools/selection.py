"""Decides which pools are listed, each with a reason. Pure."""

from collections.abc import Collection, Mapping, Set

import msgspec

from protocols.types import NATIVE, PoolId
from whitelist.configuration import Configuration
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.pricing.depths import Depth
from whitelist.pricing.prices import MICRO, Prices, micro_usd


class Listed(msgspec.Struct, frozen=True):
    pool: DiscoveredPool
    liquidity_micro_usd: int
    reason: str


class Rejected(msgspec.Struct, frozen=True):
    pool: DiscoveredPool
    reason: str


class SelectionRules(msgspec.Struct, frozen=True):
    configuration: Configuration
    names: Mapping[str, str]
    """Address to the token's name in reasons: its symbol where that is unique, else its address."""
    sources: Mapping[str, tuple[str, ...]]
    listed: Set[PoolId]
    """In the last published list."""

    def exclusion(self, pool: DiscoveredPool) -> str | None:
        """Why the pool is excluded whatever its liquidity; None: it is not."""
        for address in (pool.id, pool.token0, pool.token1, pool.hooks):
            if address in self.configuration.blocked:
                return f"{address} is blocked"
        if not self.configuration.allows_hooks(pool.hooks):
            return f"its hooks {pool.hooks} are not allowed"
        return None

    def decide(self, pool: DiscoveredPool, depth: Depth | None, prices: Prices) -> Listed | Rejected:
        """For a pool that is not excluded and whose tokens are chosen; `depth` None: no liquidity at its price."""
        tokens = (pool.token0, pool.token1)
        needed, purpose = self._needed(pool)
        if depth is None:
            empty = "it has no liquidity at its price"
            return Rejected(pool, empty) if needed else self._listed(pool, 0, f"{empty}, and none is needed")
        unpriced = [token for token in tokens if token not in prices]
        if len(unpriced) == 2:
            return Rejected(pool, f"neither {self._name(tokens[0])} nor {self._name(tokens[1])} has a price")
        if unpriced:
            return self._half_priced(pool, depth, prices, unpriced[0])
        worth = (prices[tokens[0]], prices[tokens[1]])
        liquidity = sum(micro_usd(amount, price) for amount, price in zip(depth.counted, worth, strict=True))
        if liquidity < needed:
            return Rejected(pool, f"its liquidity is {usd(liquidity)}, {usd(needed)} {purpose}")
        if factor := self._price_deviation(depth, worth):
            return Rejected(pool, f"its price is {factor} times off that of deeper pools")
        return self._listed(pool, liquidity, f"its liquidity is {usd(liquidity)}, {usd(needed)} {purpose}")

    def _listed(self, pool: DiscoveredPool, liquidity_micro_usd: int, reason: str) -> Listed:
        hooks = "" if pool.hooks == NATIVE else f"; hooks {pool.hooks} are allowed"
        chosen = ", ".join(f"{self._name(token)} by {self._sources(token)}" for token in (pool.token0, pool.token1))
        return Listed(pool, liquidity_micro_usd, f"{reason}; {chosen}{hooks}")

    def _half_priced(self, pool: DiscoveredPool, depth: Depth, prices: Prices, token: str) -> Rejected:
        known = 1 if token == pool.token0 else 0
        amount = micro_usd(depth.counted[known], prices[(pool.token0, pool.token1)[known]])
        least = usd(int(self.configuration.price_depth_usd * MICRO))
        return Rejected(
            pool,
            f"{self._name(token)} has no price: no pool that trades it both ways holds {least} of a priced token, "
            f"this one holds {usd(amount)}",
        )

    def _needed(self, pool: DiscoveredPool) -> tuple[int, str]:
        """In micro-USD, and whether to enter the list or to stay on it."""
        threshold = int(self.configuration.thresholds_usd.of(pool.protocol) * MICRO)
        if pool.id not in self.listed:
            return threshold, "are needed"
        return int(threshold * (1 - self.configuration.hysteresis)), "are needed to stay"

    def _price_deviation(self, depth: Depth, worth: tuple[int, int]) -> str | None:
        """The factor between the pool's price and the tokens' prices; None where that is tolerated."""
        numerator, denominator = depth.price[0] * worth[1], depth.price[1] * worth[0]
        factor = max(numerator, denominator) * 100 // max(1, min(numerator, denominator))
        tolerated = int(self.configuration.price_tolerance * 100)
        return f"{factor / 100:,.1f}" if factor > tolerated else None

    def _name(self, token: str) -> str:
        return self.names.get(token, token)

    def _sources(self, token: str) -> str:
        return "+".join(self.sources.get(token, ("being the native coin",)))


def skip_reason(pool: DiscoveredPool, tokens: Collection[str], unresolved: Mapping[str, str]) -> str:
    """Why a pool was not a candidate. `tokens`: those chosen; `unresolved`: of some others, why they are not."""
    reasons = [
        unresolved.get(token, f"no source chose {token}")
        for token in (pool.token0, pool.token1)
        if token not in tokens and (token != NATIVE or token in unresolved)
    ]
    return " and ".join(reasons) or f"its factory {pool.factory} is not configured"


def usd(micro: int) -> str:
    return f"{micro // MICRO:,} USD"
