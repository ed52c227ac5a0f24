"""HTTP of two workers: every route, from the owner and forwarded."""

import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from streams.kafka.topics import partition_of
from tests.support.web_cluster import CHAIN_ID, NATIVE, NEVER_READ, PARTITIONS, POOLS, USDC, V4, Cluster, block


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    started = Cluster()
    await started.start()
    yield started
    await started.stop()


async def test_every_worker_gives_the_same_answer_for_every_pool(cluster: Cluster) -> None:
    for pool in [*POOLS, V4]:
        first, second = [await cluster.get(f"/pools/{pool}/", worker) for worker in (0, 1)]

        assert {status for status, _ in (first, second)} == {200}
        assert all(float(str(body.pop("age_s"))) > 0 for _, body in (first, second))
        assert first == second


async def test_a_pool_answers_with_the_state_as_of_the_head(cluster: Cluster) -> None:
    status, body = await cluster.get(f"/pools/{POOLS[0].upper().replace('0X', '0x')}/")

    age_s = float(str(body.pop("age_s")))
    assert status == 200
    assert age_s == pytest.approx(time.time() - 3_000, abs=60)
    assert body == {
        "chain": "test",
        "chain_id": CHAIN_ID,
        "block": {"number": 3, "hash": block(3).hash, "parent_hash": block(2).hash, "timestamp": 3_000},
        "finalized": None,
        "id": POOLS[0],
        "protocol": "v2",
        "status": "live",
        "reason": None,
        "reference_block": {"number": 1, "hash": block(1).hash},
        "verified_block": 1,
        "last_event_block": 2,
        "token0": {"address": NATIVE.address, "decimals": 18},
        "token1": {"address": USDC.address, "decimals": 6, "symbol": "USDC"},
        "fee": None,
        "tick_spacing": None,
        "factory": None,
        "hooks": None,
        "price": {
            "token1_per_token0": "845100400152152934331135470250666667000000",
            "token0_per_token1": "0.00000000000000000000000000000000000000000118329135783151770811759284792417934",
        },
        "state": {"reserve0": "3", "reserve1": str(2**101)},
        "tvl": {"token0": "3", "token1": str(2**101)},
    }


async def test_blocks_in_memory_can_be_asked_for(cluster: Cluster) -> None:
    _, before = await cluster.get(f"/pools/{POOLS[0]}/?at=1")
    _, ticks_before = await cluster.get(f"/pools/{V4}/ticks/?at=2")
    _, ticks_after = await cluster.get(f"/pools/{V4}/ticks/")

    assert before["state"] == {"reserve0": "1", "reserve1": str(2**100)}
    assert before["block"] == {"number": 1, "hash": block(1).hash, "parent_hash": block(0).hash, "timestamp": 1_000}
    assert ticks_before["ticks"] == [
        {"tick": -10, "liquidity_gross": "5", "liquidity_net": "5"},
        {"tick": 10, "liquidity_gross": "5", "liquidity_net": "-5"},
    ]
    assert [each["tick"] for each in ticks_after["ticks"]] == [-20, -10, 10, 20]  # type: ignore[attr-defined]


async def test_other_blocks_are_refused_with_the_range_that_can_be_had(cluster: Cluster) -> None:
    for number in (0, 4, 10**30):
        status, body = await cluster.get(f"/pools/{POOLS[0]}/?at={number}")

        assert (status, body["first"], body["last"]) == (404, 1, 3)
        assert "in memory are blocks 1 to 3" in str(body["error"])


async def test_a_waiting_pool_says_so_and_why(cluster: Cluster) -> None:
    status, body = await cluster.get(f"/pools/{NEVER_READ}/")
    _, ticks = await cluster.get(f"/pools/{NEVER_READ}/ticks/")

    assert (status, body["status"], body["reason"], body["state"]) == (
        200,
        "waiting",
        {"kind": "listed", "detail": ""},
        None,
    )
    assert ticks["ticks"] is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/pools/0x{'ee' * 20}/", 404),
        ("/pools/hello/", 404),
        (f"/pools/{POOLS[0]}/?at=-1", 400),
        (f"/pools/{POOLS[0]}/?at=1e3", 400),
        ("/pools/?limit=x", 400),
        ("/nothing", 404),
    ],
)
async def test_every_error_is_json_with_a_sentence(cluster: Cluster, path: str, status: int) -> None:
    answered, body = await cluster.get(path)

    assert answered == status
    assert " " in str(body["error"])


async def test_pages_of_all_workers_join_without_holes(cluster: Cluster) -> None:
    found: list[str] = []
    cursor = ""
    for _ in range(10):
        _, page = await cluster.get(f"/pools/?limit=6&cursor={cursor}", worker=1)
        found += [pool["id"] for pool in page["pools"]]  # type: ignore[attr-defined]
        if page["next"] is None:
            break
        cursor = str(page["next"])

    assert found == sorted([*POOLS, V4])


async def test_pools_are_filtered(cluster: Cluster) -> None:
    async def count(query: str) -> int:
        _, page = await cluster.get(f"/pools/?{query}")
        return len(page["pools"])  # type: ignore[arg-type]

    assert await count("protocol=v4") == 1
    assert await count("status=waiting") == 1
    assert await count(f"token={USDC.address}") == 21
    assert await count(f"token=0x{'77' * 20}") == 0


async def test_status_covers_every_partition(cluster: Cluster) -> None:
    _, body = await cluster.get("/status/", worker=1)

    rows = body["partitions"]
    assert [row["partition"] for row in rows] == [0, 1, 2, 3]  # type: ignore[attr-defined]
    assert {row["head"]["number"] for row in rows} == {3}  # type: ignore[attr-defined]
    assert body["pools"] == {"live": 20, "waiting": 1}
    assert body["reasons"] == {"listed": 1}


async def test_a_worker_that_is_gone_is_named(cluster: Cluster) -> None:
    await cluster.runners[1].cleanup()
    theirs = next(pool for pool in POOLS if partition_of(pool.encode(), PARTITIONS) in {2, 3})

    for path in (f"/pools/{theirs}/", "/pools/", "/status/"):
        status, body = await cluster.get(path)

        assert status == 503
        assert cluster.owners[1].url in str(body["error"])


async def test_a_worker_that_stops_says_so_while_it_still_answers(cluster: Cluster) -> None:
    theirs = next(pool for pool in POOLS if partition_of(pool.encode(), PARTITIONS) in {2, 3})
    await cluster.get(f"/pools/{theirs}/")

    await cluster.apis[0].close()
    status, body = await cluster.get(f"/pools/{theirs}/")

    assert (status, body) == (503, {"error": "this worker is stopping; ask another one"})


async def test_what_is_being_recovered_is_not_answered(cluster: Cluster) -> None:
    cluster.owners[0].recovered = False
    mine = next(pool for pool in POOLS if partition_of(pool.encode(), PARTITIONS) in {0, 1})

    status, body = await cluster.get(f"/pools/{mine}/")
    ready, _ = await cluster.get("/readyz")

    assert (status, ready) == (503, 503)
    assert "being recovered" in str(body["error"])


async def test_readiness_names_what_is_missing(cluster: Cluster) -> None:
    home = partition_of(NEVER_READ.encode(), PARTITIONS)
    for owners in cluster.owners:
        owners.mine = {home} & owners.mine or {next(iter(owners.mine))}

    answers = [await cluster.get("/readyz", worker) for worker in (0, 1)]

    assert {status for status, _ in answers} == {503}
    assert sorted("waiting" in body for _, body in answers) == [False, True]
    assert [" s old" in str(body["error"]) for _, body in answers if "waiting" not in body] == [True]


async def test_health_fails_when_the_worker_is_stuck(cluster: Cluster) -> None:
    well, _ = await cluster.get("/healthz")
    cluster.owners[0].trouble = "nothing was folded for 60 s"
    ill, body = await cluster.get("/healthz")

    assert (well, ill) == (200, 503)
    assert body["error"] == "nothing was folded for 60 s"


async def test_explain_says_where_the_state_comes_from(cluster: Cluster) -> None:
    _, body = await cluster.get(f"/pools/{POOLS[0]}/explain/")

    assert (body["updates_applied"], body["snapshots"], body["rewinds"]) == (1, 1, 0)
    assert body["blocks_in_memory"] == [{"number": 2, "hash": block(2).hash}]


async def test_metrics_count_pools_by_status(cluster: Cluster) -> None:
    async with aiohttp.ClientSession() as session, session.get(cluster.owners[0].url + "/metrics") as response:
        text = await response.text()

    assert 'arena_pools{status="live"}' in text


async def test_a_small_share_of_waiting_pools_leaves_a_worker_ready() -> None:
    """The second worker's only waiting pool is one of four; what is not ready then is its old head."""
    home = partition_of(NEVER_READ.encode(), PARTITIONS)

    async def error(waiting_share: float) -> str:
        cluster = Cluster(waiting_share=waiting_share)
        await cluster.start()
        worker = next(at for at, owners in enumerate(cluster.owners) if home in owners.mine)
        try:
            _, body = await cluster.get("/readyz", worker)
        finally:
            await cluster.stop()
        return str(body["error"])

    assert "are waiting" in await error(0.0)
    assert " s old" in await error(0.9)
