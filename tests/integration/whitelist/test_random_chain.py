"""Random pools on a real chain; every decision is compared with one that shares no code with the whitelist.

The other one knows the tokens' prices, because the pools are made from them, and counts liquidity in floating point,
position by position. A pool within a hundredth of its threshold is left out.
"""

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab.devnet.chain import positions
from lab.devnet.chain.contracts import NATIVE, Pool, create_v4
from lab.devnet.servers import start as servers
from tests.support.whitelist.chain import (
    WORTH,
    WhitelistChain,
    answers,
    configuration,
    deploy_whitelist_chain,
    sources,
    usd_per_unit,
)
from tests.support.whitelist.command import built
from tests.support.whitelist.source_server import serving_sources

pytestmark = pytest.mark.servers

POOLS = 25
THRESHOLD_USD, TOLERANCE, BASE = 1_000, 2.0, 1.0001


class Position(NamedTuple):
    low: int
    high: int
    liquidity: int


class RandomPool(NamedTuple):
    pool: Pool
    names: tuple[str, str]
    tick: int
    positions: Sequence[Position]


@pytest.fixture(scope="module")
def setup() -> Iterator[WhitelistChain]:
    with servers.anvil() as rpc:
        yield deploy_whitelist_chain(rpc)


@pytest.mark.parametrize("seed", range(3))
def test_every_decision_on_random_pools_is_the_expected_one(setup: WhitelistChain, tmp_path: Path, seed: int) -> None:
    chosen = random.Random(seed)
    pools = [random_pool(setup, chosen, 1_000 * (seed + 1) + number) for number in range(POOLS)]

    with serving_sources(answers(setup)) as server:
        made = built(setup, tmp_path, configuration(setup, tmp_path, sources(server.url)))

    decisions = {each["id"]: each for each in (*made["pools"], *made["rejected"])}
    expected = {each.pool.id: expected_decision(each) for each in pools}
    assert {pool: agrees(decisions[pool], each) for pool, each in expected.items()} == dict.fromkeys(expected, True)
    assert {kind for kind, _ in expected.values()} >= {"listed", "shallow", "deviates"}


def random_pool(setup: WhitelistChain, chosen: random.Random, fee: int) -> RandomPool:
    """A V4 pool, most often at the right price, with up to four positions of any width around it."""
    pair = chosen.choice([("ETH", "USDC"), ("ETH", "LINK"), *(chosen.sample(list(WORTH), 2) for _ in range(4))])
    names = sorted(pair, key=lambda name: int(setup.address(name), 16))
    price = chosen.choice((1.0, 1.0, 1.0, 1.0, 1.3, 0.8, 3.0, 0.2, 50.0))
    tick = round(math.log(price * usd_per_unit(names[0]) / usd_per_unit(names[1]), BASE))
    tokens = (setup.address(names[0]), setup.address(names[1]))
    spacing = chosen.choice((1, 10, 60))
    pool = create_v4(setup.chain, setup.contracts.manager, (*tokens, fee, spacing, NATIVE), at_tick=tick)
    made = []
    for salt in range(chosen.randrange(0, 5)):
        width = chosen.choice((1, 3, 30, 300)) * spacing
        low = (tick - chosen.randrange(-width // 2, width + 1)) // spacing * spacing
        whole = sum(worth(names, tick, Position(low, low + width, 1), (low, low + width)))
        liquidity = max(1, int(chosen.choice((20, 700, 4_000)) / whole))
        made.append(Position(low, low + width, liquidity))
        setup.chain.succeed([positions.change_liquidity(setup.contracts, pool, made[-1][:2], liquidity, salt)])
    return RandomPool(pool, (names[0], names[1]), tick, made)


def worth(names: Sequence[str], tick: int, position: Position, ticks: tuple[float, float]) -> tuple[float, float]:
    """USD of the position's token0 up to the higher of `ticks`, and of its token1 down to the lower one."""
    low, high = max(position.low, ticks[0]), min(position.high, ticks[1])
    above, below = max(low, tick), min(high, tick)
    token0 = BASE ** (-above / 2) - BASE ** (-high / 2) if high > above else 0.0
    token1 = BASE ** (below / 2) - BASE ** (low / 2) if below > low else 0.0
    return position.liquidity * token0 * usd_per_unit(names[0]), position.liquidity * token1 * usd_per_unit(names[1])


def expected_decision(made: RandomPool) -> tuple[str, float]:
    """What is to be decided, and the liquidity in USD within 1 % of the price."""
    if not any(each.low <= made.tick < each.high for each in made.positions):
        return "empty", 0.0
    near = (made.tick + math.log(0.99, BASE), made.tick + math.log(1.01, BASE))
    liquidity = sum(sum(worth(made.names, made.tick, each, near)) for each in made.positions)
    price = BASE**made.tick * usd_per_unit(made.names[1]) / usd_per_unit(made.names[0])
    if liquidity < THRESHOLD_USD:
        return "shallow", liquidity
    return ("deviates" if max(price, 1 / price) > TOLERANCE else "listed"), liquidity


def agrees(decision: dict[str, Any], expected: tuple[str, float]) -> bool | str:
    """True, or what was decided and what was expected."""
    kind, liquidity = expected
    if abs(liquidity - THRESHOLD_USD) < THRESHOLD_USD / 100:
        return True
    stated = {
        "listed": decision.get("liquidity_usd") == pytest.approx(liquidity, rel=0.01),
        "empty": decision["reason"] == "it has no liquidity at its price",
        "shallow": decision["reason"].endswith("1,000 USD are needed"),
        "deviates": decision["reason"].endswith("times off that of deeper pools"),
    }
    right = stated[kind] and (kind == "listed") == ("liquidity_usd" in decision)
    return right or f"{decision['reason']}; expected: {kind}, {liquidity:.0f} USD"
