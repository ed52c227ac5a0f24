"""How old an answer is and may be, whether the client has it already, how it is compressed, and named blocks."""

import gzip
from collections.abc import AsyncIterator, Mapping

import aiohttp
import msgspec
import pytest

from protocols.types import PoolId
from tables.chain import Finality
from tests.support.web_cluster import NATIVE, NEVER_READ, POOLS, V4, Cluster, block
from web.answers import accepts_gzip

PATHS = ["/pools/", f"/pools/{POOLS[0]}/", f"/pools/{POOLS[1]}/", f"/pools/{V4}/ticks/", f"/pools/{V4}/explain/"]
WORKERS = [0, 1]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    started = Cluster()
    await started.start()
    for processor in started.processors:
        for partition in processor.partitions.values():
            partition.chain = msgspec.structs.replace(partition.chain, finality=Finality(safe=2, finalized=1))
    yield started
    await started.stop()


async def fetch(
    cluster: Cluster, path: str, headers: Mapping[str, str], worker: int = 0
) -> tuple[int, Mapping[str, str], bytes]:
    async with (
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as session,
        session.get(cluster.owners[worker].url + path, headers=headers) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("worker", WORKERS)
async def test_an_answer_older_than_asked_for_is_refused_with_its_age(cluster: Cluster, path: str, worker: int) -> None:
    allowed, _ = await cluster.get(f"{path}?max_age_s=9999999999", worker)
    status, body = await cluster.get(f"{path}?max_age_s=30.5", worker)

    assert (allowed, status) == (200, 503)
    assert "s ago; at most 30.5 s are asked for" in str(body["error"])
    assert float(str(body["age_s"])) > 10**9


@pytest.mark.parametrize("age", ["-1", "1e3", "x", "", "nan", "inf"])
async def test_an_age_that_is_no_number_of_seconds_is_refused(cluster: Cluster, age: str) -> None:
    status, body = await cluster.get(f"/pools/{V4}/?max_age_s={age}")

    assert status == 400
    assert "is not a number of seconds" in str(body["error"])


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("pool", [POOLS[0], POOLS[1], V4])
async def test_a_client_that_has_the_answer_gets_304(cluster: Cluster, pool: PoolId, worker: int) -> None:
    for path in (f"/pools/{pool}/", f"/pools/{pool}/ticks/"):
        _, headers, _ = await fetch(cluster, path, {}, worker)
        again = await fetch(cluster, path, {"If-None-Match": headers["ETag"]}, worker)
        other = await fetch(cluster, path, {"If-None-Match": 'W/"0x00-live"'}, worker)
        before = await fetch(cluster, f"{path}?at=1", {"If-None-Match": headers["ETag"]}, worker)

        assert headers["ETag"] == f'W/"{block(3).hash}-live"'
        assert (again[0], again[2]) == (304, b"")
        assert again[1]["ETag"] == headers["ETag"]
        assert (other[0], before[0]) == (200, 200)


async def test_a_pool_that_becomes_live_in_the_same_block_is_another_answer(cluster: Cluster) -> None:
    _, headers, _ = await fetch(cluster, f"/pools/{NEVER_READ}/", {})

    assert headers["ETag"] == f'W/"{block(3).hash}-waiting"'


@pytest.mark.parametrize("worker", WORKERS)
async def test_large_answers_are_compressed_where_asked(cluster: Cluster, worker: int) -> None:
    for path in ("/pools/", f"/pools/{V4}/", f"/pools/{POOLS[0]}/"):
        _, plain_headers, plain = await fetch(cluster, path, {}, worker)
        _, headers, compressed = await fetch(cluster, path, {"Accept-Encoding": "br, gzip;q=0.5"}, worker)

        assert "Content-Encoding" not in plain_headers
        assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept-Encoding")
        unpacked, body = msgspec.json.decode(gzip.decompress(compressed)), msgspec.json.decode(plain)
        assert without_age(unpacked) == without_age(body)


def without_age(body: dict[str, object]) -> dict[str, object]:
    pools = [without_age(pool) for pool in body.get("pools", [])]  # type: ignore[attr-defined]
    return {name: value for name, value in body.items() if name not in ("age_s", "pools")} | {"all": pools}


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("deflate, GZIP ; q=1", True),
        ("*", True),
        ("gzip;q=0.01", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0", False),
        ("br", False),
        ("", False),
    ],
)
def test_gzip_is_used_only_where_it_is_accepted(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


@pytest.mark.parametrize("worker", WORKERS)
async def test_a_block_can_be_named(cluster: Cluster, worker: int) -> None:
    for name, number in [("safe", 2), ("finalized", 1), ("latest", 3), (block(2).hash, 2), (f"0X{1:064X}", 1)]:
        for path in (f"/pools/{POOLS[0]}/", f"/pools/{V4}/ticks/"):
            status, body = await cluster.get(f"{path}?at={name}", worker)

            assert (status, body["block"]["number"], body["finalized"]) == (200, number, 1)  # type: ignore[index]
        _, page = await cluster.get(f"/pools/?at={name}", worker)
        assert {pool["block"]["number"] for pool in page["pools"]} == {number}  # type: ignore[attr-defined]


async def test_a_block_that_is_not_in_memory_is_refused_with_the_range(cluster: Cluster) -> None:
    for path in (f"/pools/{POOLS[0]}/", "/pools/"):
        for name in (f"0x{'77' * 32}", "0", "4"):
            status, body = await cluster.get(f"{path}?at={name}")

            assert (status, body["first"], body["last"]) == (404, 1, 3)


async def test_where_the_node_names_no_final_block_none_is(cluster: Cluster) -> None:
    for processor in cluster.processors:
        for partition in processor.partitions.values():
            partition.chain = msgspec.structs.replace(partition.chain, finality=Finality())

    for path in (f"/pools/{POOLS[0]}/", "/pools/"):
        status, body = await cluster.get(f"{path}?at=finalized")

        assert status == 404
        assert "the node does not say which block is finalized" in str(body["error"])


async def test_the_native_coin_has_two_spellings(cluster: Cluster) -> None:
    _, zero = await cluster.get(f"/pools/?token={NATIVE.address}")
    _, alias = await cluster.get("/pools/?token=0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE")

    assert [pool["id"] for pool in alias["pools"]] == [pool["id"] for pool in zero["pools"]]  # type: ignore[attr-defined]
    assert len(zero["pools"]) == 21  # type: ignore[arg-type]


async def test_pools_of_any_of_several_tokens_are_found(cluster: Cluster) -> None:
    _, page = await cluster.get(f"/pools/?token=0x{'77' * 20}&token={NATIVE.address}")

    assert len(page["pools"]) == 21  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["token=USDC", "token=0x12", "protocol=v9", "status=dead", "at=0x12", "at=pending"])
async def test_a_parameter_that_can_match_nothing_is_refused(cluster: Cluster, query: str) -> None:
    status, body = await cluster.get(f"/pools/?{query}")

    assert status == 400
    assert query.partition("=")[0] in str(body["error"])


async def test_another_method_is_refused_with_those_that_are_allowed(cluster: Cluster) -> None:
    async with aiohttp.ClientSession() as session, session.delete(cluster.owners[0].url + "/pools/") as answer:
        body = await answer.json()

    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    assert " " in body["error"]
