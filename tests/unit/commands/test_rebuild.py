"""When a rebuilt table is complete."""

from typing import Any

import pytest

from commands.processes.rebuild import Goal, is_complete

GOAL = Goal(block=100, partitions=2, waiting=1)


def status(heads: list[int | None], reasons: dict[str, int]) -> dict[str, Any]:
    return {
        "partitions": [{"ready": True, "head": None if head is None else {"number": head}} for head in heads],
        "pools": {"live": 5, "waiting": sum(reasons.values())},
        "reasons": reasons,
    }


@pytest.mark.parametrize(
    ("answer", "complete"),
    [
        ({}, False),
        (status([100], {}), False),
        (status([100, None], {}), False),
        (status([100, 99], {}), False),
        (status([100, 101], {}), True),
        (status([100, 101], {"unreadable": 7, "uninitialised": 2}), True),
        (status([100, 101], {"listed": 2}), False),
        (status([100, 101], {"listed": 1}), True),
    ],
)
def test_a_table_is_complete_at_the_block_with_no_pool_that_a_snapshot_would_help(
    answer: dict[str, Any], complete: bool
) -> None:
    assert is_complete(answer, GOAL) == complete
