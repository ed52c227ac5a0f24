"""The expected reason for each pool of the chain in tests/support/whitelist/chain.py."""

import re
from typing import Any

from protocols.types import NATIVE
from tests.support.whitelist.chain import WhitelistChain

REJECTED = {
    "fake": r"no source chose 0x[0-9a-f]{40}",
    "of nobody": r"no source chose 0x[0-9a-f]{40}",
    "blocked token": r"0x[0-9a-f]{40} is blocked",
    "hardly anything": "UNI has no price: no pool that trades it both ways holds 500 USD of a priced token, "
    r"this one holds (49|50) USD",
    "shallow": r"its liquidity is (49|50) USD, 2,000 USD are needed",
    "at the threshold": r"its liquidity is 1,(799|800) USD, 2,000 USD are needed",
    "abandoned": r"its price is \d+\.\d times off that of deeper pools",
    "empty": r"it has no liquidity at its price",
    "hooked": r"its hooks 0x[0-9a-f]{40} are not allowed",
}


BY = {
    "WETH": "trusted",
    "USDC": "trusted+cross_chain",
    "USDT": "trusted",
    "WBTC": "token_lists+lighter",
    "LINK": "cross_chain",
    "PEPE": "hyperliquid",
    "ETH": "being the native coin",
}
"""The sources that choose the tokens of the listed pools."""


def listed_because(setup: WhitelistChain, pool: dict[str, Any]) -> str:
    symbols = {address: name for name, address in setup.tokens.items()} | {NATIVE: "ETH"}
    chosen = ", ".join(f"{name} by {BY[name]}" for name in (symbols[pool["token0"]], symbols[pool["token1"]]))
    needed = "1,000" if pool["protocol"] == "v4" else "2,000"
    return rf"its liquidity is (4,9\d\d|5,0\d\d) USD, {needed} USD are needed; {re.escape(chosen)}"
