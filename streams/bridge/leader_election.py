"""Leader election among the bridges of a chain: the one that owns the single partition of a topic made for it writes.

Kafka assigns the partition to one member of a group at a time, and to another when that member's heartbeats stop. A
bridge that was frozen does not know that it has lost the partition; what it still writes has an older term and is
ignored.
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
from streams.retry import Retries

log = logging.getLogger(__name__)

HEARTBEATS_PER_SESSION = 4
POLL_MS = 1000
PARTITION = 0

_CLAIM = struct.Struct(">QQ")
"""Member to group leader: the number of its own assignment (0 if it has none), and the highest number it has seen."""
_ASSIGNMENT = struct.Struct(">Q")
"""Group leader to every member: the number of the current assignment."""


class LeadershipLost(Exception):
    def __init__(self, chain: str) -> None:
        super().__init__(f"another bridge of {chain} is the leader now; this one stops, to stand by when started again")


class Leadership(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is not typed
    def __init__(self, chain: str) -> None:
        self._chain = chain
        self._elected = asyncio.Event()
        self._lost = asyncio.Event()

    async def wait_until_elected(self) -> None:
        await self._elected.wait()

    async def raise_when_lost(self) -> None:
        """Raises LeadershipLost when another bridge is the leader."""
        await self._lost.wait()
        raise LeadershipLost(self._chain)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Every rebalance revokes everything first; only the assignment that follows counts."""

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        if assigned:
            self._elected.set()
        elif self._elected.is_set():
            self._lost.set()
        else:
            log.info("another bridge of %s is the leader; this one stands by", self._chain)


class LeaderAssignor(AbstractPartitionAssignor):  # type: ignore[misc] # aiokafka is not typed
    """Assigns the partition to the member that got it last, as long as that member is in the group.

    aiokafka's sticky assignor keeps a partition with its owner too, but not safely: a bridge that was frozen claims the
    partition when it wakes up, and so does its successor. Here assignments are numbered, and the highest number wins.
    Each member needs an assignor of its own.
    """

    name = "arena-bridge-leader"

    def __init__(self) -> None:
        self._own = 0
        self._highest_seen = 0

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(0, list(topics), _CLAIM.pack(self._own, self._highest_seen))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        claims = {member: _CLAIM.unpack(metadata.user_data) for member, metadata in members.items()}
        owner = max(sorted(claims), key=lambda member: claims[member][0])
        number = claims[owner][0]
        if not number:  # the clock, in case no member here has seen the number of one that is frozen
            number = max(time.time_ns(), 1 + max(highest_seen for _, highest_seen in claims.values()))
        return {
            member: ConsumerProtocolMemberAssignment(
                0,
                [(topic, [PARTITION]) for topic in metadata.subscription] if member == owner else [],
                _ASSIGNMENT.pack(number),
            )
            for member, metadata in members.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        [self._highest_seen] = _ASSIGNMENT.unpack(assignment.user_data)
        self._own = self._highest_seen if assignment.assignment else 0


@asynccontextmanager
async def elected(settings: Settings) -> AsyncIterator[Leadership]:
    """Stands by until this bridge is the leader; leaves the group at the end."""
    leadership = Leadership(settings.chain)
    session_ms = int(settings.bridge_session_s * 1000)
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=f"{settings.chain}-bridge",
        enable_auto_commit=False,
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // HEARTBEATS_PER_SESSION,
        partition_assignment_strategy=(LeaderAssignor(),),
    )
    consumer.subscribe([topics(settings.chain).bridge], listener=leadership)
    await consumer.start()
    polling = asyncio.create_task(_poll(consumer, leadership))
    try:
        await run_until_first_exit(leadership.wait_until_elected(), raise_group_failure(consumer))
        yield leadership
    finally:
        await cancel_and_wait(polling)
        await leave_group(consumer)


async def _poll(consumer: AIOKafkaConsumer, leadership: Leadership) -> None:
    """Kafka takes a member that does not poll out of the group after a while."""
    retries = Retries("The consumer group of the bridges", KafkaError, wait_initial_s=POLL_MS / 1000)
    async for attempt in retries:
        with attempt:
            while True:
                try:
                    await consumer.getmany(timeout_ms=POLL_MS)
                except KafkaError:
                    leadership.on_partitions_assigned(())
                    raise
                retries.reset()
