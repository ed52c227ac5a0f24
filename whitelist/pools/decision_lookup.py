"""The decision on one pool of the last build: also on those that are too many to be told of one by one."""

from msgspec.structs import replace

from protocols.types import NATIVE, PoolId
from whitelist.pools.pool_index import opened
from whitelist.pools.selection import Rejected
from whitelist.pools.skip_reasons import unchosen
from whitelist.publication.store import Build, WhitelistStore


def with_decision_on(build: Build, place: WhitelistStore, about: str) -> Build:
    """Raises PoolsUnreadable."""
    pool_id = PoolId(about.lower())
    told = {each.pool.id for each in build.pools} | {each.pool.id for each in build.rejected}
    if build.untold == 0 or pool_id in told:
        return build
    with opened(place.pools) as found:
        pool = found.pool(pool_id)
    tokens = [token.address for token in build.tokens]
    if pool is None or {pool.token0, pool.token1} <= {*tokens, NATIVE}:
        return build
    rejected = Rejected(pool, unchosen(pool, tokens, build.unresolved))
    return replace(build, rejected=[*build.rejected, rejected], untold=build.untold - 1)
