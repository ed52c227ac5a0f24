"""Why a pool was not even looked at. PURE."""

from collections.abc import Collection, Mapping

from protocols.types import NATIVE
from whitelist.pools.factory_events import DiscoveredPool


def unchosen(pool: DiscoveredPool, tokens: Collection[str], unresolved: Mapping[str, str]) -> str:
    """`tokens` are those that are chosen; `unresolved` says of some others why they are not."""
    said = [
        unresolved.get(token, f"no source chose {token}")
        for token in (pool.token0, pool.token1)
        if token not in tokens and (token != NATIVE or token in unresolved)
    ]
    return " and ".join(said) or f"its factory {pool.factory} is not configured"
