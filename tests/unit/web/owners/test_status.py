"""`/status/` while workers of two versions run, as in a rolling upgrade."""

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.web_cluster import Cluster

EARLIER = {
    "chain": "test",
    "head": None,
    "pools": {"live": 0, "waiting": 0},
    "reasons": {},
    "partitions": [
        {
            "partition": 2,
            "worker": "http://elsewhere",
            "ready": True,
            "head": None,
            "head_timestamp": None,
            "lag_blocks": None,
            "lag_seconds": None,
            "pools": {"live": 3, "waiting": 0},
            "reasons": {},
        }
    ],
}
"""Of a version without chain_id, ready and finalized."""


async def status_beside(other: object) -> tuple[int, dict[str, object]]:
    """Of a worker whose other partitions belong to one that answers so."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(other)

    application = web.Application()
    application.add_routes([web.get("/status/", answer)])
    cluster = Cluster()
    await cluster.start()
    try:
        async with TestServer(application) as server:
            for owners in cluster.owners:
                own, theirs = cluster.owners[0].url, f"http://{server.host}:{server.port}"
                owners.everyone = {0: own, 1: own, 2: theirs, 3: theirs}
            return await cluster.get("/status/")
    finally:
        await cluster.stop()


async def test_a_worker_of_an_earlier_version_is_counted() -> None:
    status, body = await status_beside(EARLIER)

    partitions = body["partitions"]
    assert status == 200
    assert isinstance(partitions, list)
    assert [each["partition"] for each in partitions] == [0, 1, 2]


async def test_an_answer_that_is_no_status_is_a_503_with_a_sentence() -> None:
    status, body = await status_beside([])

    assert status == 503
    assert "cannot be read" in str(body["error"])
