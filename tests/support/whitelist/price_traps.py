"""Pools that claim 50 times LINK's price, each with money that trades cannot take out, or with little of it."""

import math
from collections.abc import Callable, Mapping

from eth_abi.abi import encode
from eth_hash.auto import keccak

from lab.devnet.chain import positions
from lab.devnet.chain.contracts import DYNAMIC_FEE, NATIVE, QUIET_HOOKS, Pool, create_v3, create_v4
from protocols.ticks import sqrt_ratio_at_tick
from tests.support.whitelist.chain import WhitelistChain, usd_per_unit

OFF = 50
BALANCES_SLOT = 3
"""Of the mapping `balanceOf` in solmate's ERC20."""

Trap = Callable[[WhitelistChain], list[Pool]]


def v4(setup: WhitelistChain, quote: str, fee: int, spacing: int, hooks: str = NATIVE) -> tuple[Pool, int]:
    """A LINK pool without liquidity, and the tick of its price."""
    tokens, tick = _priced(setup, quote)
    return create_v4(setup.chain, setup.contracts.manager, (*tokens, fee, spacing, hooks), at_tick=tick), tick


def v3(setup: WhitelistChain, quote: str) -> tuple[Pool, int]:
    tokens, tick = _priced(setup, quote)
    return create_v3(setup.chain, setup.contracts.v3_factory, tokens, 100, at_tick=tick), tick


def fill(setup: WhitelistChain, pool: Pool, ticks: tuple[int, int], quote: str, usd: float, *, salt: int = 0) -> None:
    """One position with `usd` in the quote token, or where it holds none, that much LINK at the claimed price."""
    _, tick = _priced(setup, quote)
    low, at, high = (sqrt_ratio_at_tick(each) / 2**96 for each in (ticks[0], tick, ticks[1]))
    at = min(max(low, at), high)
    worth = usd_per_unit(quote)
    is_token0 = pool.token0 == setup.address(quote)
    scale = worth if is_token0 else worth * at**2
    held0, held1 = (1 / at - 1 / high) * scale, (at - low) * (worth if not is_token0 else worth / at**2)
    held = held0 if is_token0 else held1
    liquidity = int(usd / (held or held0 or held1))
    setup.chain.succeed([positions.change_liquidity(setup.contracts, pool, ticks, liquidity, salt)])


def one_v4_tick(setup: WhitelistChain) -> list[Pool]:
    """4,000 USD that look like 400,000."""
    pool, tick = v4(setup, "USDC", 100, 1)
    fill(setup, pool, (tick - 1, tick + 1), "USDC", 4_000)
    return [pool]


def one_v3_tick(setup: WhitelistChain) -> list[Pool]:
    pool, tick = v3(setup, "USDC")
    fill(setup, pool, (tick - 1, tick + 1), "USDC", 4_000)
    return [pool]


def ten_v4_ticks(setup: WhitelistChain) -> list[Pool]:
    pools = []
    for number, quote in enumerate(("USDC", "USDT", "WETH", "ETH", "WBTC") * 2):
        pool, tick = v4(setup, quote, 200 + number, 1)
        fill(setup, pool, (tick - 1, tick + 1), quote, 1_000)
        pools.append(pool)
    return pools


def one_side(setup: WhitelistChain) -> list[Pool]:
    """At the edge of its only position: trades take out one token, and the other way there is nothing."""
    pools = []
    for quote in ("USDC", "USDT", "WETH", "WBTC"):
        pool, tick = v4(setup, quote, 300, 1)
        fill(setup, pool, (tick, tick + 10_000), quote, 1_000_000)
        pools.append(pool)
    return pools


def empty_ranges(setup: WhitelistChain) -> list[Pool]:
    """10 USD at the price, and millions where the price is not."""
    pool, tick = v4(setup, "USDC", 400, 1)
    fill(setup, pool, (tick - 1, tick + 1), "USDC", 10)
    fill(setup, pool, (tick + 8_000, tick + 9_000), "USDC", 5_000_000, salt=1)
    fill(setup, pool, (tick - 9_000, tick - 8_000), "USDC", 5_000_000, salt=2)
    return [pool]


def prohibitive_fee(setup: WhitelistChain) -> list[Pool]:
    """Much money, and half of every trade is the fee."""
    pool, tick = v4(setup, "USDC", 500_000, 1)
    fill(setup, pool, (tick - 5_000, tick + 5_000), "USDC", 5_000_000)
    return [pool]


def hooks(setup: WhitelistChain) -> list[Pool]:
    pool, tick = v4(setup, "USDC", DYNAMIC_FEE, 1, QUIET_HOOKS)
    fill(setup, pool, (tick - 5_000, tick + 5_000), "USDC", 5_000_000)
    return [pool]


def v3_without_money(setup: WhitelistChain) -> list[Pool]:
    """The pool's books say millions; the tokens, as after a rebase or with a fee on transfer, say nearly nothing."""
    pool, tick = v3(setup, "USDC")
    fill(setup, pool, (tick - 5_000, tick + 5_000), "USDC", 5_000_000)
    _set_balances(setup, pool, 100.0)
    return [pool]


TRAPS: Mapping[str, Trap] = {
    trap.__name__: trap
    for trap in (
        *(one_v4_tick, one_v3_tick, ten_v4_ticks, one_side, empty_ranges),
        *(prohibitive_fee, hooks, v3_without_money),
    )
}


def _priced(setup: WhitelistChain, quote: str) -> tuple[tuple[str, str], int]:
    """The tokens in order, and the tick at which LINK is 50 times too dear."""
    link, other = setup.address("LINK"), setup.address(quote)
    price = OFF * usd_per_unit("LINK") / usd_per_unit(quote)
    if int(link, 16) < int(other, 16):
        return (link, other), round(math.log(price) / math.log(1.0001))
    return (other, link), round(-math.log(price) / math.log(1.0001))


def _set_balances(setup: WhitelistChain, pool: Pool, usd: float) -> None:
    names = {address: name for name, address in setup.tokens.items()}
    for token in (pool.token0, pool.token1):
        slot = keccak(encode(["address", "uint256"], [pool.address, BALANCES_SLOT]))
        amount = int(usd / usd_per_unit(names[token]))
        setup.chain.rpc.call("anvil_setStorageAt", token, "0x" + slot.hex(), f"0x{amount:064x}")
