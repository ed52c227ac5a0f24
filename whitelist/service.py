"""The commands' doings: one build, one publication, and both again and again."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from settings import Settings
from streams.kafka.groups import run_until_first_exit
from streams.nats.connection import connect_nats, server_addresses
from streams.nats.jetstream import NotStored, publish
from streams.nats.subscriber import RESEED_SUBJECT
from streams.nats.whitelist_encoder import Envelope, OutgoingMessage, TooLarge
from streams.node.client import connect
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.pinned_state import BlockGone
from whitelist.build import Unbuilt, build
from whitelist.configuration import Configuration, configured
from whitelist.metrics import BUILDS, CHANGES, MESSAGES, RESEEDS, STEP_SECONDS, told
from whitelist.pools.log_ranges import LogsRefused
from whitelist.pools.pool_index import PoolsUnreadable
from whitelist.pools.scan_progress import shown
from whitelist.pricing.depth_reader import PoolUnread
from whitelist.publication.messages import Change, TooManyRemoved, change, expect_moderate, messages, whole
from whitelist.publication.store import Build, Busy, Published, Unreadable, WhitelistStore
from whitelist.tokens.metadata import TokenUnread

log = logging.getLogger(__name__)

RETRY_S = 30.0
"""After a build that failed, or a list that NATS did not take."""
LISTEN_AGAIN_S = 2.0
ANSWER_EVERY_S = 1.0
"""However many ask."""
REBUILD_S = 60.0
"""A list asked for again is told at once, and built again if the last build is older than that."""


class NothingListed(Exception):
    """No pool was chosen, and none was before."""


class NatsAway(Exception):
    def __init__(self, settings: Settings, error: BaseException) -> None:
        super().__init__(f"NATS at {server_addresses(settings)}: {error or type(error).__name__}; nothing is published")


FAILURES = (
    *(Busy, Unreadable, Unbuilt, BlockGone, NodeUnavailable, RpcError, LogsRefused, PoolUnread, TokenUnread),
    *(PoolsUnreadable, NotStored, NatsAway, NothingListed, TooLarge, TooManyRemoved, OSError),
)
"""What is told in a sentence and tried again: the world outside may be better by then."""


async def build_once(settings: Settings, young_s: float = 0.0) -> Build:
    """Raises Busy, and what building raises."""
    configuration = configured(settings)
    with WhitelistStore(settings).alone(), shown() as progress:
        async with connect(settings.rpc) as node:
            made = await build(settings, configuration, node, progress, young_s)
    told(made)
    return made


async def publish_once(settings: Settings, *, force: bool, young_s: float = 0.0) -> tuple[Build, Change]:
    """Builds, and publishes the difference and the whole. Raises TooManyRemoved, NothingListed, NatsAway, NotKept."""
    configuration = configured(settings)
    made = await build_once(settings, young_s)
    place = WhitelistStore(settings)
    after = made.published
    with STEP_SECONDS.labels("publish").time(), place.alone():
        before = place.published()
        found = change(before, after)
        if not after.pools and not found.removed:
            raise NothingListed(
                f"no pool is chosen at block {made.block.number}; nothing is published. "
                "`whitelist show` has the reasons"
            )
        if not force:
            expect_moderate(before, found, configuration.removal_share)
        async with _nats(settings) as client:
            said = _said(settings, after)
            await _say(client, settings, messages(said, found, after, client.max_payload))
        place.keep_published(after)
    CHANGES.labels("added").inc(len(found.pools))
    CHANGES.labels("removed").inc(len(found.removed))
    return made, found


async def run(settings: Settings) -> None:
    """Builds and publishes for ever, and tells the list again when asked. Raises Misconfigured."""
    configuration = configured(settings)
    asked = asyncio.Event()
    await run_until_first_exit(_publish_again(settings, configuration, asked), _answer(settings, asked))


async def _publish_again(settings: Settings, configuration: Configuration, asked: asyncio.Event) -> None:
    while True:
        wait_s = configuration.every_s
        try:
            made, found = await publish_once(settings, force=False, young_s=configuration.every_s / 2)
        except FAILURES as error:
            is_refused = isinstance(error, TooManyRemoved)
            BUILDS.labels("refused" if is_refused else "failed").inc()
            wait_s = wait_s if is_refused else min(RETRY_S, wait_s)
            log.error("The last list stays: %s. Trying again in %.0f s", error, wait_s)  # noqa: TRY400  told in full
        else:
            BUILDS.labels("published").inc()
            log.info(
                "Published %d pools as of block %d: %d new or changed, %d removed",
                *(len(made.pools), made.block.number, len(found.pools), len(found.removed)),
            )
        await _wait(asked, wait_s)


async def _wait(asked: asyncio.Event, wait_s: float) -> None:
    """Shorter where a list is asked for; but a while."""
    await asyncio.sleep(min(wait_s, REBUILD_S))
    if wait_s > REBUILD_S:
        try:
            async with asyncio.timeout(wait_s - REBUILD_S):
                await asked.wait()
        except TimeoutError:
            pass
    asked.clear()


async def _answer(settings: Settings, asked: asyncio.Event) -> None:
    """Whoever comes without JetStream asks for the list; many at once get one answer."""
    down = False
    while True:
        try:
            async with _nats(settings) as client:
                down = False
                await _answer_on(client, settings, asked)
        except (NatsAway, NatsError, NotStored, TooLarge, Unreadable, OSError, TimeoutError) as error:
            if not down:
                log.warning("Requests for the list are not heard: %s", error)
            down = True
        await asyncio.sleep(LISTEN_AGAIN_S)


async def _answer_on(client: Client, settings: Settings, asked: asyncio.Event) -> None:
    requests = asyncio.Event()

    async def request(message: Msg) -> None:
        requests.set()

    await client.subscribe(RESEED_SUBJECT, cb=request)
    await client.flush()
    while client.is_connected:
        try:
            async with asyncio.timeout(LISTEN_AGAIN_S):
                await requests.wait()
        except TimeoutError:
            continue
        requests.clear()
        asked.set()
        published = WhitelistStore(settings).published()
        if published is not None:
            await _say(client, settings, whole(_said(settings, published), published, client.max_payload))
            RESEEDS.inc()
        await asyncio.sleep(ANSWER_EVERY_S)


async def _say(client: Client, settings: Settings, outgoing: list[OutgoingMessage]) -> None:
    await publish(client, settings.chain, outgoing)
    for message in outgoing:
        MESSAGES.labels(message.subject).inc()


@asynccontextmanager
async def _nats(settings: Settings) -> AsyncIterator[Client]:
    try:
        async with connect_nats(settings) as client:
            yield client
    except (NatsError, OSError, TimeoutError) as error:
        raise NatsAway(settings, error) from error


def _said(settings: Settings, published: Published) -> Envelope:
    """With the time of the list, not of the message: its `snapshot_id` says the same."""
    at = datetime.fromtimestamp(published.snapshot_id / 1000, UTC)
    return Envelope(settings.chain, at.isoformat(), published.snapshot_id)
