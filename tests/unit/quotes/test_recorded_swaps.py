"""Quotes against swaps that mainnet settled: USDC/WETH at 0.3 % on 5 January 2024."""

from collections.abc import Iterator

from eth_abi.abi import decode as abi_decode

from protocols.concentrated import Price
from protocols.concentrated import Swap as SwapEvent
from protocols.decoding import decode
from protocols.dex import PoolState
from protocols.quotes.concentrated import V3_RULES, ConcentratedMarket
from protocols.quotes.order import MOST_AMOUNT, Order
from protocols.ticks import Ticks
from protocols.types import Log
from tests.support.recorded_logs import logs

FEE = 3000


def swaps() -> Iterator[tuple[SwapEvent, Log] | None]:
    """None in place of a log that may change the liquidity."""
    for log in logs("usdc_weth_2024-01-05"):
        decoded = decode(log)
        event = decoded.event if decoded else None
        yield (event, log) if isinstance(event, SwapEvent) else None


def settles(before: Price, log: Log, after: Price) -> bool:
    """Whether a quote for the input, the output or the price that the log tells gives all three.

    The log does not tell which was asked for.
    """
    amount0, amount1 = abi_decode(["int256", "int256"], log.data[:64])
    zero_for_one = amount0 > 0
    amount_in, amount_out = (amount0, -amount1) if zero_for_one else (amount1, -amount0)
    market = ConcentratedMarket(PoolState(before, Ticks(60, {})), (FEE, FEE), V3_RULES)
    orders = (
        Order(zero_for_one, amount_in),
        Order(zero_for_one, amount_out, exact_out=True),
        Order(zero_for_one, MOST_AMOUNT, sqrt_price_limit_x96=after.sqrt_price_x96),
    )
    quotes = map(market.quote, orders)
    return (amount_in, amount_out, after) in [(each.amount_in, each.amount_out, each.after) for each in quotes]


def test_swaps_within_one_range_are_quoted_as_they_were_settled() -> None:
    """Those that leave the liquidity as it was, so that no tick need be known."""
    compared = 0
    previous: SwapEvent | None = None
    for each in swaps():
        if previous and each and previous.liquidity == each[0].liquidity:
            event, log = each
            before = Price(previous.sqrt_price_x96, previous.tick, previous.liquidity)
            after = Price(event.sqrt_price_x96, event.tick, event.liquidity)
            assert settles(before, log, after)
            compared += 1
        previous = each[0] if each else None
    assert compared > 200
