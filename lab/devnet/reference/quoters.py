"""What Uniswap's own quoter contracts answer at one block: QuoterV2 for V3 pools, V4Quoter for V4 pools."""

import json
from pathlib import Path
from typing import NamedTuple

from lab.devnet.chain.blocks import Chain
from lab.devnet.chain.contracts import LENS, V4_KEY, Contracts, Pool, initcode
from lab.devnet.chain.evm import CallFailed, Rpc, calldata, words
from protocols.quotes.order import Order

V4_QUOTER = Path(__file__).parent.parent / "chain" / "v4_quoter.json"
"""The npm package with this contract is 33 MB; what is deployed of it is in this file."""
GAS = 2_000_000_000
V3_ARGUMENTS = "((address,address,uint256,uint24,uint160))"
V4_ARGUMENTS = f"(({V4_KEY},bool,uint128,bytes))"


class QuoterAnswer(NamedTuple):
    amount: int
    """What comes out for an exact input, what goes in for an exact output."""
    sqrt_price_x96_after: int | None = None
    """QuoterV2's only. Its count of ticks is not taken: it has ticks in it that are not crossed."""


class Quoters:
    def __init__(self, rpc: Rpc, v3: str, v4: str) -> None:
        self._rpc = rpc
        self._v3 = v3
        self._v4 = v4

    @classmethod
    def deployed(cls, chain: Chain, contracts: Contracts) -> "Quoters":
        v4 = json.loads(V4_QUOTER.read_text())["bytecode"]
        manager = bytes(12).hex() + contracts.manager[2:]
        v3 = initcode(
            f"{LENS}/QuoterV2.sol/QuoterV2.json", "(address,address)", contracts.v3_factory, contracts.manager
        )
        return cls(chain.rpc, *chain.create(v3, v4 + manager))

    def quote(self, pool: Pool, order: Order, block: str) -> QuoterAnswer | None:
        """`block`: a hash or `latest`; the pool is one of Uniswap's. None where the quoter reverts.

        V4Quoter knows no price limit.
        """
        to, data = self.request(pool, order)
        try:
            call = {"to": to, "data": data, "gas": hex(GAS)}
            answer = words(self._rpc.call("eth_call", call, {"blockHash": block} if block.startswith("0x") else block))
        except CallFailed:
            return None
        return QuoterAnswer(answer[0]) if pool.protocol == "v4" else QuoterAnswer(*answer[:2])

    def request(self, pool: Pool, order: Order) -> tuple[str, str]:
        """The contract, and the call's data."""
        kind = "Output" if order.exact_out else "Input"
        if pool.protocol == "v4":
            swap = (pool.key, order.zero_for_one, order.amount, b"")
            return self._v4, calldata(f"quoteExact{kind}Single{V4_ARGUMENTS}", swap)
        tokens = (pool.token0, pool.token1) if order.zero_for_one else (pool.token1, pool.token0)
        arguments = (*tokens, order.amount, pool.fee or 0, order.sqrt_price_limit_x96 or 0)
        return self._v3, calldata(f"quoteExact{kind}Single{V3_ARGUMENTS}", arguments)
