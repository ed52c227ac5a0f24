"""Which of several bridges of a chain writes: the one that owns the single partition of a topic made for that.

Kafka gives the partition to one member of a group at a time, and to another when the member's heartbeats stop. A bridge
that was frozen does not know yet that it has lost it; what it still writes has an older term, and changes nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from settings import Settings
from streams.bridge.leader_assignor import LeaderAssignor
from streams.kafka.clients import client_options
from streams.kafka.groups import cancel_and_wait, leave_group, raise_group_failure, run_until_first_exit
from streams.kafka.topics import topics

log = logging.getLogger(__name__)

HEARTBEATS_PER_SESSION = 4
POLL_MS = 1000


class NoLongerLeads(Exception):
    def __init__(self, chain: str) -> None:
        super().__init__(f"another bridge of {chain} leads now; this one stops, and waits its turn when started again")


class Lead(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is not typed
    def __init__(self, chain: str) -> None:
        self._chain = chain
        self._won = asyncio.Event()
        self._lost = asyncio.Event()

    async def won(self) -> None:
        """Returns when this bridge leads."""
        await self._won.wait()

    async def lost(self) -> None:
        """Raises NoLongerLeads when it does not lead any more."""
        await self._lost.wait()
        raise NoLongerLeads(self._chain)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Every rebalance takes everything first; what counts is what is given then."""

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        if assigned:
            self._won.set()
        elif self._won.is_set():
            self._lost.set()
        else:
            log.info("another bridge of %s leads; this one waits until it is gone", self._chain)


@asynccontextmanager
async def leading(settings: Settings) -> AsyncIterator[Lead]:
    """Entered when this bridge leads."""
    lead = Lead(settings.chain)
    session_ms = int(settings.bridge_session_s * 1000)
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=f"{settings.chain}-bridge",
        enable_auto_commit=False,
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // HEARTBEATS_PER_SESSION,
        partition_assignment_strategy=(LeaderAssignor(),),
    )
    consumer.subscribe([topics(settings.chain).bridge], listener=lead)
    await consumer.start()
    polling = asyncio.create_task(_poll(consumer, lead))
    try:
        await run_until_first_exit(lead.won(), raise_group_failure(consumer))
        yield lead
    finally:
        await cancel_and_wait(polling)
        await leave_group(consumer)


async def _poll(consumer: AIOKafkaConsumer, lead: Lead) -> None:
    """A member that does not ask for records is taken for dead after a while."""
    while True:
        try:
            await consumer.getmany(timeout_ms=POLL_MS)
        except KafkaError as error:
            log.warning("whether this bridge leads cannot be told: %s", error)
            lead.on_partitions_assigned(())
            await asyncio.sleep(POLL_MS / 1000)
