"""Some random swaps of every DEX, mined and called: quotes equal the chain (`make quotes` runs thousands)."""

from collections.abc import Callable

import pytest

from lab.devnet.chain.world import World
from lab.quotes.called import compare_with_quoters
from lab.quotes.mined import MinedSwaps

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("whole system")]


def test_swaps_that_are_mined_settle_as_quoted(anvil: Callable[..., str]) -> None:
    swaps, wrong = MinedSwaps(World(anvil(), seed=11), seed=11).run(600)

    assert wrong == []
    assert swaps.total() == 600
    assert min(swaps[f"{dex} settled"] for dex in ("v2", "v3", "pancakeswap v3", "v4")) > 20


def test_uniswaps_quoters_answer_what_is_quoted(anvil: Callable[..., str]) -> None:
    calls, wrong = compare_with_quoters(World(anvil(), seed=12), calls=180, seed=12)

    assert wrong == []
    assert min(calls[f"{protocol} quoter answers"] for protocol in ("v3", "v4")) > 20
