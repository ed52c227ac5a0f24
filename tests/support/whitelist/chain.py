"""A chain with pools that a whitelist should list and pools that it should not, and what token sources answer."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec

from lab.devnet.chain import positions
from lab.devnet.chain.blocks import TRADER, Chain, Transaction
from lab.devnet.chain.contracts import (
    DYNAMIC_FEE,
    NATIVE,
    PLENTY,
    QUIET_HOOKS,
    Contracts,
    Pool,
    create_v2,
    create_v3,
    create_v4,
    token_initcode,
)
from lab.devnet.chain.evm import Rpc, calldata
from protocols.ticks import sqrt_ratio_at_tick

WORTH = {
    "WETH": (18, 3000.0),
    "USDC": (6, 1.0),
    "USDT": (6, 1.0),
    "WBTC": (8, 60_000.0),
    "LINK": (18, 15.0),
    "PEPE": (18, 0.00001),
}
"""Decimals, and USD for one."""
OTHERS = {"USDC.fake": 6, "UNI": 18, "NOBODY": 18, "SCAM": 18}
"""A fake with a famous symbol, a token with little liquidity, one that no source has, and a blocked one."""
ENOUGH_USD = 5_000.0
NARROW, WIDE = 1.01, 0.99


class WhitelistChain(msgspec.Struct):
    chain: Chain
    contracts: Contracts
    tokens: dict[str, str]
    """Name to address."""
    pools: dict[str, Pool] = {}
    """Name to pool; the name says what it is."""

    def address(self, name: str) -> str:
        return NATIVE if name == "ETH" else self.tokens[name]

    @property
    def names(self) -> dict[str, str]:
        return {pool.id: name for name, pool in self.pools.items()}


def deploy_whitelist_chain(rpc: str) -> WhitelistChain:
    """70 pools: 61 to list, and one for each reason not to."""
    chain = Chain(Rpc(rpc))
    contracts = Contracts.deployed(chain)
    decimals = {name: worth[0] for name, worth in WORTH.items()} | OTHERS
    codes = [token_initcode(name.partition(".")[0], each) for name, each in decimals.items()]
    tokens = dict(zip(decimals, chain.create(*codes), strict=True))
    chain.succeed([Transaction(each, calldata("mint(address,uint256)", TRADER, PLENTY)) for each in tokens.values()])
    routers = (contracts.v4_modifier, contracts.v4_swapper)
    approvals = [calldata("approve(address,uint256)", router, 2**256 - 1) for router in routers]
    chain.succeed([Transaction(each, approval) for each in tokens.values() for approval in approvals])
    setup = WhitelistChain(chain, contracts, tokens)
    for pair in combinations(WORTH, 2):
        _pair(setup, f"v2 {'/'.join(pair)}", pair, ENOUGH_USD)
        for fee in (500, 3000):
            _ticked(setup, f"v3 {'/'.join(pair)} {fee}", pair, fee, ENOUGH_USD)
        singleton(setup, f"v4 {'/'.join(pair)}", pair, ENOUGH_USD)
    singleton(setup, "native", ("ETH", "USDC"), ENOUGH_USD)
    _pair(setup, "fake", ("WETH", "USDC.fake"), 1_000_000)
    _pair(setup, "hardly anything", ("WETH", "UNI"), 100)
    _pair(setup, "of nobody", ("WETH", "NOBODY"), ENOUGH_USD)
    _pair(setup, "blocked token", ("WETH", "SCAM"), ENOUGH_USD)
    _ticked(setup, "shallow", ("WETH", "USDC"), 10_000, 50)
    _ticked(setup, "at the threshold", ("WBTC", "USDC"), 10_000, 1_800)
    _ticked(setup, "abandoned", ("LINK", "USDT"), 10_000, ENOUGH_USD, off=100)
    _ticked(setup, "empty", ("LINK", "USDC"), 10_000, 0)
    singleton(setup, "hooked", ("WETH", "USDT"), ENOUGH_USD, hooks=QUIET_HOOKS)
    return setup


def usd_per_unit(name: str) -> float:
    """Of the token's smallest unit; a token without a price here is worth a dollar."""
    decimals, usd = WORTH.get("WETH" if name == "ETH" else name, (OTHERS.get(name, 18), 1.0))
    return float(usd / 10**decimals)


def _sorted(setup: WhitelistChain, pair: Sequence[str]) -> tuple[str, str]:
    first, second = sorted(pair, key=lambda name: int(setup.address(name), 16))
    return first, second


def _pair(setup: WhitelistChain, name: str, pair: Sequence[str], usd: float) -> None:
    """`usd` is that of both reserves."""
    names = _sorted(setup, pair)
    pool = create_v2(setup.chain, setup.contracts, *map(setup.address, names))
    amounts = [int(usd / 2 / usd_per_unit(each)) for each in names]
    setup.chain.succeed(positions.v2_mint(pool, amounts[0], amounts[1]))
    setup.pools[name] = pool


def _ticked(setup: WhitelistChain, name: str, pair: Sequence[str], fee: int, usd: float, *, off: float = 1.0) -> None:
    """`usd` within 1 % of the price; `off`: the factor by which the price is wrong."""
    names = _sorted(setup, pair)
    tick = _tick(names, off)
    tokens = (setup.address(names[0]), setup.address(names[1]))
    pool = create_v3(setup.chain, setup.contracts.v3_factory, tokens, fee, at_tick=tick)
    setup.pools[name] = pool
    _fill(setup, pool, names, tick, usd)


def singleton(setup: WhitelistChain, name: str, pair: Sequence[str], usd: float, hooks: str = NATIVE) -> None:
    names = _sorted(setup, pair)
    tick = _tick(names, 1.0)
    fee = 3000 if hooks == NATIVE else DYNAMIC_FEE
    key = (setup.address(names[0]), setup.address(names[1]), fee, 60, hooks)
    pool = create_v4(setup.chain, setup.contracts.manager, key, at_tick=tick)
    setup.pools[name] = pool
    _fill(setup, pool, names, tick, usd)


def _tick(names: tuple[str, str], off: float) -> int:
    return round(math.log(off * usd_per_unit(names[0]) / usd_per_unit(names[1])) / math.log(1.0001))


def _fill(setup: WhitelistChain, pool: Pool, names: tuple[str, str], tick: int, usd: float) -> None:
    """One position, much wider than 1 %, with the liquidity that holds `usd` within 1 %."""
    if not usd:
        return
    price = sqrt_ratio_at_tick(tick) / 2**96
    near0 = (1 - 1 / math.sqrt(NARROW)) / price * usd_per_unit(names[0])
    near1 = (1 - math.sqrt(WIDE)) * price * usd_per_unit(names[1])
    middle = tick // pool.tick_spacing * pool.tick_spacing
    ticks = (middle - 100 * pool.tick_spacing, middle + 100 * pool.tick_spacing)
    setup.chain.succeed([positions.change_liquidity(setup.contracts, pool, ticks, int(usd / (near0 + near1)), salt=0)])


def configuration(setup: WhitelistChain, directory: Path, sources: str = "", **changes: str) -> Path:
    """A file as an operator writes it, with only the keys that are needed."""
    path = directory / "whitelist.toml"
    path.write_text(f"""
platform = "ethereum"
blocked = ["{setup.tokens["SCAM"]}"]
hooks = {changes.get("hooks", '"none"')}
{sources}

[[trusted]]
address = "{setup.tokens["WETH"]}"
symbol = "WETH"
wraps_native = true

[[trusted]]
address = "{setup.tokens["USDC"]}"
symbol = "USDC"
usd = 1.0

[[trusted]]
address = "{setup.tokens["USDT"]}"
symbol = "USDT"
usd = 1.0

[[factories]]
protocol = "v2"
address = "{setup.contracts.v2_factory}"
from_block = 0

[[factories]]
protocol = "v3"
address = "{setup.contracts.v3_factory}"
from_block = 0

[[factories]]
protocol = "v4"
address = "{setup.contracts.manager}"
from_block = 0
""")
    return path


def coins(setup: WhitelistChain) -> list[dict[str, Any]]:
    """As CoinGecko lists them: LINK and UNI on two chains, PEPE on one, and BTC on a chain of its own."""
    here = {name: {"ethereum": address} for name, address in setup.tokens.items()}
    elsewhere = {"base": "0x" + "ba" * 20}
    return [
        {"id": "chainlink", "symbol": "link", "name": "Chainlink", "platforms": here["LINK"] | elsewhere},
        {"id": "uniswap", "symbol": "uni", "name": "Uniswap", "platforms": here["UNI"] | elsewhere},
        {"id": "pepe", "symbol": "pepe", "name": "Pepe", "platforms": here["PEPE"]},
        {"id": "scam", "symbol": "scam", "name": "Scam", "platforms": here["SCAM"] | elsewhere},
        {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin", "platforms": {}},
        {"id": "usd-coin", "symbol": "usdc", "name": "USDC", "platforms": here["USDC"] | elsewhere},
    ]


def answers(setup: WhitelistChain) -> Mapping[str, Any]:
    """Path to what the public servers answer."""
    perpetuals = [("BTC", False), ("kPEPE", False), ("OLD", True), ("USDC.fake", False)]
    return {
        "/api/v3/coins/list": coins(setup),
        "/info": [
            {"universe": [{"name": name, "szDecimals": 5, "isDelisted": gone} for name, gone in perpetuals]},
            [{"dayNtlVlm": "10.0", "openInterest": "3.0", "funding": "0"} for _ in perpetuals],
        ],
        "/api/v1/funding-rates": {
            "code": 200,
            "funding_rates": [
                {"market_id": 1, "exchange": "lighter", "symbol": "WBTC", "rate": 0.0001},
                {"market_id": 2, "exchange": "binance", "symbol": "NOBODY", "rate": 0.0001},
            ],
        },
        "/list.json": {
            "name": "A list",
            "tokens": [
                {"chainId": 1, "address": setup.tokens["WBTC"], "symbol": "WBTC", "decimals": 8, "name": "Bitcoin"},
                {"chainId": 10, "address": setup.tokens["NOBODY"], "symbol": "NOBODY", "decimals": 18, "name": "N"},
            ],
        },
    }


def sources(url: str, timeout_s: float = 5) -> str:
    return f"""
[sources.cross_chain]
enabled = true
url = "{url}"
timeout_s = {timeout_s}
chains = ["ethereum", "base"]
min_chains = 2

[sources.hyperliquid]
enabled = true
url = "{url}"
timeout_s = {timeout_s}

[sources.lighter]
enabled = true
url = "{url}"
timeout_s = {timeout_s}

[sources.token_lists]
enabled = true
urls = ["{url}/list.json"]
timeout_s = {timeout_s}

[sources.top_transfers]
enabled = false
timeout_s = {timeout_s}
"""
