"""Which pools a backfill covers: those of a whitelist file, or of the live topic `whitelist`."""

from collections.abc import Collection
from pathlib import Path

from protocols.types import PoolId, PoolMetadata
from replay.backfill.plan import InvalidPlan, only_these
from settings import Settings
from streams.bridge.pool_listing import read_listed
from streams.kafka.topic_setup import missing_topics
from streams.kafka.topics import topics
from streams.nats.whitelist_decoder import Rejected
from streams.nats.whitelist_state import FullList, apply_full


async def chosen_pools(
    settings: Settings, file: Path | None, ids: Collection[PoolId] | None
) -> dict[PoolId, PoolMetadata]:
    """None: all of the list. Raises InvalidPlan."""
    pools = pools_of_file(file, settings.chain) if file else await _pools_of_topic(settings)
    if not pools:
        raise InvalidPlan(
            f"the topic {topics(settings.chain).whitelist} lists no pool; name a file with a list by --whitelist"
        )
    return pools if ids is None else only_these(pools, ids)


def pools_of_file(file: Path, chain: str) -> dict[PoolId, PoolMetadata]:
    """A full whitelist message as it goes over NATS, or `published.json` of `./arena whitelist`. Raises InvalidPlan."""
    try:
        listed = apply_full(FullList(), f"whitelist.pools.{chain}.full", file.read_bytes(), chain)
    except (OSError, Rejected) as error:
        raise InvalidPlan(f"{file} cannot be read as a whitelist: {error}") from error
    if listed.skipped or listed.partial:
        raise InvalidPlan(f"{file}: {listed.skipped[0] if listed.skipped else 'a part of a list is no whole list'}")
    return dict(listed.pools)


async def _pools_of_topic(settings: Settings) -> dict[PoolId, PoolMetadata]:
    if await missing_topics(settings, [topics(settings.chain).whitelist]):
        return {}
    return {pool: listed.pool for pool, listed in (await read_listed(settings)).items()}
