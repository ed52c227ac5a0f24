"""The decision on a pool and its reason: excluded, too shallow, unpriced, or at a deviating price."""

import pytest

from protocols.types import NATIVE, PoolId, ProtocolName
from whitelist.configuration import Configuration, Factory, Thresholds
from whitelist.pools.factory_events import DiscoveredPool
from whitelist.pools.selection import Listed, Rejected, SelectionRules
from whitelist.pricing.depths import Depth, reserves_depth
from whitelist.pricing.prices import MICRO, anchor_price

USDC, WETH, LINK, HOOKS, OTHER = (f"0x{digit * 40}" for digit in "abcde")
POOL = PoolId("0x" + "1" * 40)
FACTORIES = (Factory(protocol="v2", address="0x" + "f" * 40),)
NAMES = {USDC: "USDC", WETH: "WETH"}
SOURCES = {USDC: ("trusted",), WETH: ("trusted", "cross_chain")}
PRICES = {USDC: anchor_price(1, 6), WETH: anchor_price(3000, 18), NATIVE: anchor_price(3000, 18)}
BY = "USDC by trusted, WETH by trusted+cross_chain"


def rules(listed: tuple[PoolId, ...] = (), **changes: object) -> SelectionRules:
    configuration = Configuration(factories=FACTORIES, **changes)  # type: ignore[arg-type]
    return SelectionRules(configuration, NAMES, SOURCES, frozenset(listed))


def pool(protocol: ProtocolName = "v2", tokens: tuple[str, str] = (USDC, WETH), hooks: str = NATIVE) -> DiscoveredPool:
    return DiscoveredPool(POOL, protocol, FACTORIES[0].address, *tokens, hooks=hooks)


def worth(usd: float, price: float = 3000) -> Depth:
    """Both reserves together; `price` is of one WETH. A cent more, for what rounding takes."""
    found = reserves_depth(int((usd + 0.01) / 2 * 10**6), int((usd + 0.01) / 2 / price * 10**18))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("usd", "listed", "expected"),
    [
        (2000, (), f"its liquidity is 2,000 USD, 2,000 USD are needed; {BY}"),
        (1999.9, (), "its liquidity is 1,999 USD, 2,000 USD are needed"),
        (1999.9, (POOL,), f"its liquidity is 1,999 USD, 1,600 USD are needed to stay; {BY}"),
        (1600, (POOL,), f"its liquidity is 1,600 USD, 1,600 USD are needed to stay; {BY}"),
        (1599.9, (POOL,), "its liquidity is 1,599 USD, 1,600 USD are needed to stay"),
        (1999.9, (PoolId(OTHER),), "its liquidity is 1,999 USD, 2,000 USD are needed"),
    ],
)
def test_a_pool_enters_at_the_threshold_and_leaves_below_the_hysteresis(
    usd: float, listed: tuple[PoolId, ...], expected: str
) -> None:
    decision = rules(listed).decide(pool(), worth(usd), PRICES)

    assert decision.reason == expected
    assert isinstance(decision, Listed) == expected.endswith(BY)


def test_the_threshold_itself_is_enough() -> None:
    """Of tokens without decimals, whose prices are exact."""
    one_usd = anchor_price(1, 0)
    found = reserves_depth(1000, 1000)

    decision = rules().decide(pool(), found, {USDC: one_usd, WETH: one_usd})

    assert isinstance(decision, Listed)
    assert decision.liquidity_micro_usd == 2000 * MICRO


def test_a_pool_that_oscillates_around_the_threshold_stays_listed() -> None:
    listed: tuple[PoolId, ...] = ()
    history = []
    for usd in (1990, 2010, 1990, 2010, 1700, 1990, 1500, 1990, 2010):
        decision = rules(listed).decide(pool(), worth(usd), PRICES)
        listed = (POOL,) if isinstance(decision, Listed) else ()
        history.append(bool(listed))

    assert history == [False, True, True, True, True, True, False, False, True]


@pytest.mark.parametrize(("protocol", "is_listed"), [("v2", False), ("v3", True), ("v4", False)])
def test_each_protocol_has_its_threshold(protocol: ProtocolName, is_listed: bool) -> None:
    thresholds = Thresholds(v2=501, v3=500, v4=600)

    decision = rules(thresholds_usd=thresholds).decide(pool(protocol), worth(500), PRICES)

    assert isinstance(decision, Listed) == is_listed


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        (5900, None),
        (1550, None),
        (7000, "its price is 2.3 times off that of deeper pools"),
        (1000, "its price is 3.0 times off that of deeper pools"),
        (3 * 10**9, "its price is 1,000,000.0 times off that of deeper pools"),
    ],
)
def test_a_pool_at_a_deviating_price_is_not_listed_however_deep(price: float, reason: str | None) -> None:
    decision = rules().decide(pool(), worth(10**9, price), PRICES)

    assert (decision.reason if isinstance(decision, Rejected) else None) == reason


def test_a_pool_without_liquidity_at_its_price_is_not_listed() -> None:
    assert rules().decide(pool(), None, PRICES) == Rejected(pool(), "it has no liquidity at its price")


def test_a_pool_with_nothing_at_its_price_is_listed_where_nothing_is_needed() -> None:
    decision = rules(thresholds_usd=Thresholds(v2=0)).decide(pool(), None, PRICES)

    assert decision == Listed(pool(), 0, f"it has no liquidity at its price, and none is needed; {BY}")


def test_unpriced_tokens_are_named_by_symbol_or_address() -> None:
    decide = rules().decide

    half = pool(tokens=(LINK, WETH))
    assert decide(half, worth(800), {WETH: PRICES[WETH]}) == Rejected(
        half,
        f"{LINK} has no price: no pool that trades it both ways holds 500 USD of a priced token, "
        "this one holds 400 USD",
    )
    assert decide(pool(), worth(800), {}) == Rejected(pool(), "neither USDC nor WETH has a price")


@pytest.mark.parametrize("blocked", [POOL, USDC, WETH, HOOKS])
def test_a_blocked_address_excludes_a_pool_whatever_else_holds(blocked: str) -> None:
    hooked = pool("v4", hooks=HOOKS)

    assert rules(blocked=(blocked,), hooks="all").exclusion(hooked) == f"{blocked} is blocked"
    assert rules(blocked=(OTHER,), hooks="all").exclusion(hooked) is None


@pytest.mark.parametrize(
    ("allowed", "forbidden"), [("none", True), ("all", False), ((HOOKS,), False), ((OTHER,), True), ((), True)]
)
def test_hooks_exclude_a_pool_unless_they_are_allowed(allowed: object, forbidden: bool) -> None:
    reason = rules(hooks=allowed).exclusion(pool("v4", hooks=HOOKS))

    assert reason == (f"its hooks {HOOKS} are not allowed" if forbidden else None)
    assert rules(hooks=allowed).exclusion(pool("v4")) is None


def test_a_listed_pool_with_hooks_is_marked_and_the_coin_needs_no_source() -> None:
    decision = rules(hooks="all").decide(pool("v4", (USDC, NATIVE), HOOKS), worth(1000), PRICES)

    assert isinstance(decision, Listed)
    assert decision.reason == (
        f"its liquidity is 1,000 USD, 1,000 USD are needed; USDC by trusted, {NATIVE} by being the native coin; "
        f"hooks {HOOKS} are allowed"
    )
