"""Which of several bridges of a chain writes: the one that owns the single partition of a topic made for that.

Kafka gives the partition to one member of a group at a time, and to another when the member's heartbeats stop. A bridge
that was frozen does not know yet that it has lost it; what it still writes has an older term, and changes nothing.
"""

import asyncio
import logging
import struct
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError

from settings import Settings
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


_CLAIM = struct.Struct(">QQ")
"""What a member says: the number under which it was given the partition (0 if it was not), the highest it heard of."""

_GIVEN = struct.Struct(">Q")
"""What each member is told: the number under which the partition is given now."""

PARTITION = 0


class LeaderAssignor(AbstractPartitionAssignor):  # type: ignore[misc] # aiokafka is not typed
    """One for each member."""

    name = "arena-bridge-seat"

    def __init__(self) -> None:
        self._given = 0
        self._heard = 0

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(0, list(topics), _CLAIM.pack(self._given, self._heard))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        claims = {member: _CLAIM.unpack(said.user_data) for member, said in members.items()}
        owner = max(sorted(claims), key=lambda member: claims[member][0])
        given = claims[owner][0]
        if not given:  # the clock is for the case that none of those who are here heard of the one that was frozen
            given = max(time.time_ns(), 1 + max(heard for _, heard in claims.values()))
        return {
            member: ConsumerProtocolMemberAssignment(
                0,
                [(topic, [PARTITION]) for topic in said.subscription] if member == owner else [],
                _GIVEN.pack(given),
            )
            for member, said in members.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        [self._heard] = _GIVEN.unpack(assignment.user_data)
        self._given = self._heard if assignment.assignment else 0


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
