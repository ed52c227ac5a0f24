"""Which bridge of the group gets the partition, in every order in which they join, die, freeze and wake up."""

import random

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from streams.bridge.leader_election import LeaderAssignor


def rebalanced(members: dict[str, LeaderAssignor]) -> str:
    """The member that has the partition after a rebalance among these, as it goes over the wire."""
    metadata = {
        name: ConsumerProtocolMemberMetadata.decode(assignor.metadata(["bridge"]).encode())
        for name, assignor in members.items()
    }
    given = random.choice(list(members.values())).assign(ClusterMetadata(), metadata)
    owners = []
    for name, assignor in members.items():
        assignment = ConsumerProtocolMemberAssignment.decode(given[name].encode())
        assignor.on_assignment(assignment)
        owners += [name] * len(assignment.partitions())
    [owner] = owners
    return owner


def test_the_leader_stays_the_leader_when_others_join() -> None:
    members = {"m": LeaderAssignor()}
    assert rebalanced(members) == "m"
    for other in ("a", "z", "b"):
        members[other] = LeaderAssignor()
        assert rebalanced(members) == "m"


def test_a_frozen_leader_is_not_elected_again_over_a_successor_that_knew_it() -> None:
    old, new = LeaderAssignor(), LeaderAssignor()
    assert rebalanced({"a": old}) == "a"
    assert rebalanced({"a": old, "b": new}) == "a"
    assert rebalanced({"b": new}) == "b"
    assert rebalanced({"a": old, "b": new}) == "b"


def test_a_frozen_leader_is_not_elected_again_over_a_successor_that_did_not_know_it() -> None:
    old, new = LeaderAssignor(), LeaderAssignor()
    assert rebalanced({"a": old}) == "a"
    assert rebalanced({"b": new}) == "b"
    assert rebalanced({"a": old, "b": new}) == "b"


def test_the_leader_is_the_bridge_elected_last_through_any_joins_crashes_and_freezes() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        here = {"0": LeaderAssignor()}
        frozen: dict[str, LeaderAssignor] = {}
        leader = rebalanced(here)
        for step in range(1, 40):
            match chance.choice(("come", "freeze", "wake", "die")):
                case "come" if len(here) < 4:
                    here[f"{chance.random()}"] = LeaderAssignor()
                case "freeze" if len(here) > 1:
                    name = chance.choice(sorted(here))
                    frozen[name] = here.pop(name)
                case "wake" if frozen:
                    name = chance.choice(sorted(frozen))
                    here[name] = frozen.pop(name)
                case "die" if len(here) > 1:
                    here.pop(chance.choice(sorted(here)))
            before, leader = leader, rebalanced(here)
            assert leader == before or before not in here, (seed, step)
