import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from lab.devnet.servers import start as servers


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
