"""Servers are started once per run, or once per process of a parallel run (`make test`)."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings as hypothesis_settings

from lab.devnet.servers import start as servers

hypothesis_settings.register_profile("nightly", max_examples=5_000, deadline=None)

FIRST = ("tests/integration/lab", "tests/integration/durable", "tests/integration")
"""Of a parallel run: what takes longest, so that no process ends long after the others."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` a file's tests share a process, because they share its fixtures.

    Files that run a whole system have a group of their own, so that one such system runs at a time.
    """
    if config.getoption("dist", "no") != "loadgroup":
        return
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(config.rootpath).as_posix()))
    items.sort(key=lambda item: [not item.nodeid.startswith(folder) for folder in FIRST])


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """host:port of the run's one broker; keep apart from other tests by `chain_name`."""
    with servers.kafka() as address:
        yield address


@pytest.fixture(scope="session")
def nats() -> Iterator[str]:
    """URL of the run's one NATS server."""
    with servers.nats() as url:
        yield url


@pytest.fixture
def anvil() -> Iterator[Callable[..., str]]:
    """Call it for the RPC URL of a fresh chain, gone after the test."""
    with ExitStack() as started:
        yield lambda *options: started.enter_context(servers.anvil(*options))


@pytest.fixture
def chain_name() -> str:
    """Unique to the test: it prefixes topics, subjects and application ids."""
    return f"t{uuid.uuid4().hex[:10]}"
