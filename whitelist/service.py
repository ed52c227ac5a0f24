"""What the commands run: one build, one publication, or a publication every hour with reseeds in between."""

import asyncio
import logging

from settings import Settings
from streams.kafka.groups import run_until_first_exit
from streams.nats.jetstream import NotStored
from streams.nats.whitelist_encoder import TooLarge
from streams.node.client import connect_node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.log_ranges import LogsRefused
from streams.node.state.pinned_state import BlockGone
from whitelist.build import BuildFailed, build
from whitelist.configuration import Configuration
from whitelist.configuration_file import load_configuration
from whitelist.metrics import BUILDS, CHANGES, STEP_SECONDS, record_build
from whitelist.pools.factory_scan import PoolsMissing
from whitelist.pools.log_proof import LogsPruned
from whitelist.pools.pool_index import PoolIndexUnreadable
from whitelist.pools.scan_progress import progress_display
from whitelist.pricing.balances import BalanceReadFailed
from whitelist.pricing.depth_reader import PoolReadFailed
from whitelist.publication.messages import (
    ListChange,
    TooManyRemoved,
    check_removals,
    compare_lists,
    update_messages,
)
from whitelist.publication.publisher import NatsUnavailable, connect_publisher, envelope, publish_all, serve_reseeds
from whitelist.publication.store import Build, StoreLocked, StoreUnreadable, WhitelistStore
from whitelist.tokens.metadata import TokenReadFailed

log = logging.getLogger(__name__)

RETRY_S = 30.0
"""After a failed build or publication."""
REBUILD_S = 60.0
"""A reseed request also starts a build, if the last one is older."""


class EmptyList(Exception):
    """No pool is chosen, and none was published before."""


FAILURES = (
    *(StoreLocked, StoreUnreadable, PoolIndexUnreadable, OSError),
    *(BuildFailed, BlockGone, NodeUnavailable, RpcError, LogsRefused, LogsPruned, PoolsMissing),
    *(PoolReadFailed, BalanceReadFailed, TokenReadFailed),
    *(NotStored, NatsUnavailable, EmptyList, TooLarge, TooManyRemoved),
)
"""Expected failures of the world outside: logged as one sentence, and tried again."""


async def build_once(settings: Settings, max_age_s: float = 0.0) -> Build:
    """`max_age_s`: up to this age the sources' cached answers are used. Raises StoreLocked, and what `build` raises."""
    configuration = load_configuration(settings)
    with WhitelistStore(settings).lock(), progress_display() as progress:
        async with connect_node(settings) as node:
            made = await build(settings, configuration, node, progress, max_age_s)
    record_build(made)
    return made


async def publish_once(settings: Settings, *, force: bool, max_age_s: float = 0.0) -> tuple[Build, ListChange]:
    """Builds, then publishes the change and the full list.

    Raises TooManyRemoved (unless `force`), EmptyList, NatsUnavailable, NotStored, and what `build_once` raises.
    """
    configuration = load_configuration(settings)
    made = await build_once(settings, max_age_s)
    store = WhitelistStore(settings)
    after = made.published
    with STEP_SECONDS.labels("publish").time(), store.lock():
        before = store.published()
        change = compare_lists(before, after)
        if not after.pools and not change.removed:
            raise EmptyList(
                f"no pool is chosen at block {made.block.number}; nothing is published. "
                "`whitelist show` has the reasons"
            )
        if not force:
            check_removals(before, change, configuration.removal_share)
        async with connect_publisher(settings) as client:
            messages = update_messages(envelope(settings, after), change, after, client.max_payload)
            await publish_all(client, settings, messages)
        store.save_published(after)
    CHANGES.labels("added").inc(len(change.pools))
    CHANGES.labels("removed").inc(len(change.removed))
    return made, change


async def run(settings: Settings) -> None:
    """Builds and publishes for ever, and answers reseed requests. Raises Misconfigured."""
    configuration = load_configuration(settings)
    reseed_requested = asyncio.Event()
    await run_until_first_exit(
        _publish_repeatedly(settings, configuration, reseed_requested), serve_reseeds(settings, reseed_requested)
    )


async def _publish_repeatedly(
    settings: Settings, configuration: Configuration, reseed_requested: asyncio.Event
) -> None:
    while True:
        wait_s = configuration.every_s
        try:
            made, change = await publish_once(settings, force=False, max_age_s=configuration.every_s / 2)
        except FAILURES as error:
            is_refused = isinstance(error, TooManyRemoved)
            BUILDS.labels("refused" if is_refused else "failed").inc()
            wait_s = wait_s if is_refused else min(RETRY_S, wait_s)
            log.error("the published list is unchanged: %s. Next attempt in %.0f s", error, wait_s)  # noqa: TRY400  the cause is in the line
        else:
            BUILDS.labels("published").inc()
            log.info(
                "published %d pools as of block %d: %d new or changed, %d removed",
                *(len(made.pools), made.block.number, len(change.pools), len(change.removed)),
            )
        await _wait(reseed_requested, wait_s)


async def _wait(reseed_requested: asyncio.Event, wait_s: float) -> None:
    """Until the next build: `wait_s`, or less after a reseed request, but at least REBUILD_S."""
    await asyncio.sleep(min(wait_s, REBUILD_S))
    if wait_s > REBUILD_S:
        try:
            async with asyncio.timeout(wait_s - REBUILD_S):
                await reseed_requested.wait()
        except TimeoutError:
            pass
    reseed_requested.clear()
