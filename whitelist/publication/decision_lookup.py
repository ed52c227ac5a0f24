"""The last build's decision on one pool, computed again where the build omits it."""

from msgspec.structs import replace

from protocols.types import NATIVE, PoolId
from whitelist.pools.pool_index import open_index
from whitelist.pools.selection import Rejected, skip_reason
from whitelist.publication.store import Build, WhitelistStore


def with_decision_on(build: Build, store: WhitelistStore, pool: str) -> Build:
    """`build` with the decision on `pool`, if there is such a pool. Raises PoolIndexUnreadable."""
    pool_id = PoolId(pool.lower())
    reported = {each.pool.id for each in build.pools} | {each.pool.id for each in build.rejected}
    if build.omitted == 0 or pool_id in reported:
        return build
    with open_index(store.pools) as index:
        discovered = index.pool(pool_id)
    tokens = [token.address for token in build.tokens]
    if discovered is None or {discovered.token0, discovered.token1} <= {*tokens, NATIVE}:
        return build
    rejected = Rejected(discovered, skip_reason(discovered, tokens, build.unresolved))
    return replace(build, rejected=[*build.rejected, rejected], omitted=build.omitted - 1)
