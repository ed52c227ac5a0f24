from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.web_cluster import POOLS, Cluster

TOKEN = "a secret é"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    started = Cluster(TOKEN)
    await started.start()
    yield started
    await started.stop()


async def get(cluster: Cluster, path: str, authorization: str | None) -> aiohttp.ClientResponse:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with aiohttp.ClientSession() as session, session.get(cluster.owners[0].url + path, headers=headers) as answer:
        await answer.read()
        return answer


@pytest.mark.parametrize(
    "path", ["/pools/", f"/pools/{POOLS[0]}/", f"/pools/{POOLS[1]}/", "/status/", "/metrics", "/x"]
)
@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Bearer a secret", "bearer", "Basic YTpi"])
async def test_without_the_token_nothing_is_answered(cluster: Cluster, path: str, given: str | None) -> None:
    answer = await get(cluster, path, given)

    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer" in (await answer.json())["error"]


async def test_probes_need_no_token(cluster: Cluster) -> None:
    assert (await get(cluster, "/healthz", None)).status == 200
    assert (await get(cluster, "/readyz", None)).status == 503  # by the pool that waits


async def test_workers_forward_with_the_token(cluster: Cluster) -> None:
    answers = [await get(cluster, f"/pools/{pool}/", f"Bearer {TOKEN}") for pool in POOLS]
    status = await get(cluster, "/status/", f"Bearer {TOKEN}")

    assert {answer.status for answer in answers} == {200}
    assert len((await status.json())["partitions"]) == 4
