import pytest

from settings import Settings
from streams.bridge.process import SeedUnverified, run


async def test_the_seed_wire_is_refused_without_the_nodes_word() -> None:
    with pytest.raises(SeedUnverified, match="needs ARENA_BRIDGE_VERIFY=true"):
        await run(Settings(exex_wire="seed", bridge_verify=False))
