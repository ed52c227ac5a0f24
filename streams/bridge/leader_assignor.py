"""Which member of the bridges' group has the single partition: the one that was given it last, while it is there.

aiokafka's sticky assignor keeps a partition with its owner too, but not safely: a bridge that was frozen and wakes up
says that it owns the partition, as the one that took over does. Here what each says it was given has a number, and
the highest holds.
"""

import struct
import time
from collections.abc import Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

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
