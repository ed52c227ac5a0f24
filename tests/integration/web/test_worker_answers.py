"""HTTP of a real worker behind real Kafka, NATS and a chain: its envelope, its age, and its OpenAPI document."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from pool_state_arena_client.arena import Arena
from pool_state_arena_client.errors import NotNow

from tests.support.system_trial import Trial, running_trial
from tests.support.web.openapi import schemathesis

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system"), pytest.mark.timeout(900)]

YOUNG_S = 3.0
FINALITY_S = 2.5
"""After it the bridge has asked the node for the finalized block again."""


@pytest.fixture
async def trial(
    kafka: str, nats: str, anvil: Callable[..., str], chain_name: str, tmp_path: Path
) -> AsyncIterator[Trial]:
    async with running_trial(kafka, nats, anvil(), chain_name, tmp_path, workers=2) as trial:
        trial.share()
        trial.settle()
        yield trial


async def test_answers_hold_what_the_document_says_and_show_their_age_when_the_bridge_stops(
    trial: Trial, tmp_path: Path
) -> None:
    with Arena(trial.ours.urls[0]) as arena:
        ids = [pool.id for pool in trial.world.pools]

        await check_envelope(trial, arena)
        code, report = await schemathesis(trial.ours.urls[0], None, ids[0], tmp_path)
        assert code == 0, report
        check_batch(trial, arena, ids)
        check_age(trial, arena, ids)


async def check_envelope(trial: Trial, arena: Arena) -> None:
    pool_id = trial.world.pools[0].id
    trial.mine(1)
    await asyncio.sleep(FINALITY_S)
    trial.mine(2)
    trial.settle()

    pool = arena.pool(pool_id)

    tip = trial.world.chain.tip
    assert pool.envelope is not None
    assert pool.envelope.block is not None
    assert (pool.envelope.chain_id, pool.envelope.block.hash) == (31337, tip.hash)
    assert pool.envelope.finalized is not None
    assert pool.envelope.block.number - pool.envelope.finalized >= 0
    assert arena.pool(pool_id, at=pool.envelope.block.parent_hash).is_live


def check_batch(trial: Trial, arena: Arena, ids: Sequence[str]) -> None:
    found = arena.query(ids, ticks=True)

    assert {pool.id for pool in found.pools} == set(ids)
    assert found.envelope.block is not None
    assert found.envelope.block.hash == trial.world.chain.tip.hash
    alone = [arena.pool(each, at=found.envelope.block.hash) for each in ids]
    assert [pool.state for pool in found.pools] == [pool.state for pool in alone]


def check_age(trial: Trial, arena: Arena, ids: Sequence[str]) -> None:
    trial.mine(1)
    trial.settle()
    trial.kill("bridge")
    time.sleep(YOUNG_S + 1)

    ages = [pool.envelope.age_s for pool in arena.pools() if pool.envelope and pool.envelope.age_s is not None]
    assert len(ages) == len(ids)
    assert min(ages) > YOUNG_S
    for ask in (lambda: arena.pool(ids[0], max_age_s=YOUNG_S), lambda: arena.query(ids, max_age_s=YOUNG_S)):
        with pytest.raises(NotNow, match="at most 3 s are asked for") as refused:
            ask()
        assert refused.value.age_s is not None
        assert refused.value.age_s > YOUNG_S
    page = httpx.get(f"{trial.ours.urls[1]}/pools/?{urlencode({'max_age_s': YOUNG_S})}")
    assert page.status_code == 503
