"""The short form of `make fuzz`. ARENA_TEST_SEED=… for other inputs."""

import logging
import os

import pytest

from lab.fuzz.__main__ import TARGETS, run

INPUTS = {"control": 1_000, "seed": 1_000, "records": 800, "whitelists": 1_000, "snapshot requests": 1_000}


@pytest.mark.parametrize("kind", TARGETS)
async def test_no_mutated_input_does_harm(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    seed = int(os.environ.get("ARENA_TEST_SEED", "1"))

    counts, found = await run(INPUTS[kind], seed, kind)

    assert found == []
    assert counts["inputs"] == INPUTS[kind]
