"""Quotes against swaps that mainnet settled: USDC/WETH at 0.3 % on 5 January 2024, and V2 pairs of three blocks."""

from collections.abc import Iterator

from eth_abi.abi import decode as abi_decode
from eth_hash.auto import keccak

from protocols.abi import event_abi
from protocols.concentrated import Price
from protocols.concentrated import Swap as SwapEvent
from protocols.decoding import decode
from protocols.dex import PoolState
from protocols.quotes.concentrated import V3_RULES, ConcentratedMarket
from protocols.quotes.constant_product import ConstantProductMarket
from protocols.quotes.order import MOST_AMOUNT, Order
from protocols.ticks import Ticks
from protocols.types import Log
from protocols.v2 import SYNC, V2State
from tests.support.recorded_logs import logs

FEE = 3000
SYNC_TOPIC = "0x" + event_abi(SYNC).topic0.hex()
PAIR_SWAP_TOPIC = "0x" + keccak(b"Swap(address,uint256,uint256,uint256,uint256,address)").hex()


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


def pair_swaps() -> Iterator[tuple[int, int, int, int]]:
    """Reserves of what goes in and out before the swap, amount in, amount out; each Swap follows its own Sync."""
    for name in ("block_21925176", "blocks_17173049_17173050"):
        after: dict[str, tuple[int, int]] = {}
        for log in logs(name):
            match "0x" + log.topics[0].hex():
                case topic if topic == SYNC_TOPIC:
                    after[log.address] = abi_decode(["uint112", "uint112"], log.data)
                case topic if topic == PAIR_SWAP_TOPIC:
                    in0, in1, out0, out1 = abi_decode(["uint256"] * 4, log.data)
                    reserve0, reserve1 = after[log.address]
                    if in0 and out1 and not in1 and not out0:
                        yield reserve0 - in0, reserve1 + out1, in0, out1
                    elif in1 and out0 and not in0 and not out1:
                        yield reserve1 - in1, reserve0 + out0, in1, out0


def test_swaps_of_pairs_are_quoted_as_they_were_settled() -> None:
    """All but a few: a trader may take less than the pair lets out, never more."""
    compared = equal = 0
    for reserve_in, reserve_out, amount_in, amount_out in pair_swaps():
        state = V2State(reserve_in, reserve_out)
        market = ConstantProductMarket(state, (reserve_in, reserve_out), 3000, V2State)
        sold = market.quote(Order(True, amount_in))
        bought = market.quote(Order(True, amount_out, exact_out=True))
        compared += 1
        equal += sold.amount_out == amount_out or bought.amount_in == amount_in
        assert sold.amount_out >= amount_out
    assert compared > 80
    assert equal > 0.9 * compared
