"""Which of the bridges' group is given the partition, through every order in which they come, go and wake up."""

import random

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from streams.bridge.leader_election import LeaderAssignor


def rebalanced(members: dict[str, LeaderAssignor]) -> str:
    """The member that has the partition after a rebalance among these, as it goes over the wire."""
    said = {
        name: ConsumerProtocolMemberMetadata.decode(seat.metadata(["bridge"]).encode())
        for name, seat in members.items()
    }
    given = random.choice(list(members.values())).assign(ClusterMetadata(), said)
    owners = []
    for name, seat in members.items():
        told = ConsumerProtocolMemberAssignment.decode(given[name].encode())
        seat.on_assignment(told)
        owners += [name] * len(told.partitions())
    [owner] = owners
    return owner


def test_who_leads_goes_on_leading_when_others_come() -> None:
    members = {"m": LeaderAssignor()}
    assert rebalanced(members) == "m"
    for other in ("a", "z", "b"):
        members[other] = LeaderAssignor()
        assert rebalanced(members) == "m"


def test_one_that_was_frozen_does_not_take_the_lead_back_from_one_that_knew_it() -> None:
    old, new = LeaderAssignor(), LeaderAssignor()
    assert rebalanced({"a": old}) == "a"
    assert rebalanced({"a": old, "b": new}) == "a"
    assert rebalanced({"b": new}) == "b"
    assert rebalanced({"a": old, "b": new}) == "b"


def test_one_that_was_frozen_does_not_take_the_lead_back_from_one_that_did_not_know_it() -> None:
    old, new = LeaderAssignor(), LeaderAssignor()
    assert rebalanced({"a": old}) == "a"
    assert rebalanced({"b": new}) == "b"
    assert rebalanced({"a": old, "b": new}) == "b"


def test_the_lead_is_with_the_one_given_it_last_whoever_comes_goes_freezes_and_wakes_up() -> None:
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
