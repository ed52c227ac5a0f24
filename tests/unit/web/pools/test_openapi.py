"""The OpenAPI document is valid, covers what is answered, and holds against two workers whatever is asked."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.web.openapi import schemathesis
from tests.support.web_cluster import NEVER_READ, POOLS, V4, Cluster
from web.page.serving import PREFIX
from web.stream import partitions


@pytest.fixture(params=[None, "a token"])
def token(request: pytest.FixtureRequest) -> str | None:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def cluster(token: str | None) -> AsyncIterator[Cluster]:
    started = Cluster(token)
    await started.start()
    yield started
    await started.stop()


async def get(cluster: Cluster, path: str) -> Any:
    headers = {"Authorization": f"Bearer {cluster.token}"} if cluster.token else {}
    async with aiohttp.ClientSession() as session, session.get(cluster.owners[0].url + path, headers=headers) as answer:
        return await answer.json()


async def test_the_document_is_valid(cluster: Cluster) -> None:
    document = await get(cluster, "/openapi.json")

    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"
    assert ("security" in document) == (cluster.token is not None)


async def test_every_route_is_in_the_document(cluster: Cluster) -> None:
    document = await get(cluster, "/openapi.json")

    routes = {route.path for api in cluster.apis for route in api.routes()}
    between_workers = {path for path in routes if path.startswith(partitions.PATH)}
    of_the_page = {path for path in routes if path == "/" or path.startswith(PREFIX)}
    assert set(document["paths"]) == routes - between_workers - of_the_page


@pytest.mark.parametrize("token", [None], indirect=True)
@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/pools/", "/pools/"),
        ("/pools/{id}/", f"/pools/{POOLS[0]}/"),
        ("/pools/{id}/", f"/pools/{V4}/"),
        ("/pools/{id}/", f"/pools/{NEVER_READ}/"),
        ("/pools/{id}/ticks/", f"/pools/{V4}/ticks/"),
        ("/pools/{id}/explain/", f"/pools/{V4}/explain/"),
        ("/pools/{id}/explain/", f"/pools/{NEVER_READ}/explain/"),
        ("/status/", "/status/"),
        ("/subgraph/v4.json", "/subgraph/v4.json"),
    ],
)
async def test_answers_are_as_the_document_says_and_have_no_other_fields(
    cluster: Cluster, route: str, path: str
) -> None:
    document = await get(cluster, "/openapi.json")
    schema = document["paths"][route]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    is_list = schema.get("type") == "array"
    closed = {} if is_list else {"unevaluatedProperties": False}
    validator = Draft202012Validator({"components": document["components"], **schema, **closed})

    errors = list(validator.iter_errors(await get(cluster, path)))

    assert errors == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("token", "pool"),
    [(None, None), ("a token", None), (None, POOLS[0]), (None, POOLS[1]), (None, V4)],
    indirect=["token"],
)
async def test_whatever_the_document_allows_is_answered_as_it_says(
    cluster: Cluster, tmp_path: Path, pool: str | None
) -> None:
    """For pools as they come, nearly all of them not listed, and for listed ones of either worker."""
    code, report = await schemathesis(cluster.owners[0].url, cluster.token, pool, tmp_path)

    assert code == 0, report
    assert "passed" in report
