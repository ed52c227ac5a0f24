"""What the chain itself would settle for a swap at one block: the pool's own swap, called and not sent."""

from collections.abc import Mapping
from typing import NamedTuple

from eth_abi.abi import encode
from eth_hash.auto import keccak

from lab.devnet.chain import positions
from lab.devnet.chain.blocks import TRADER
from lab.devnet.chain.contracts import NATIVE, Contracts, Pool
from lab.devnet.chain.evm import CallFailed, Rpc, calldata, signed, words
from protocols.quotes.order import Order
from protocols.quotes.tick_maths import MAX_SQRT_RATIO, MIN_SQRT_RATIO

GAS = 2_000_000_000
BALANCES_SLOT = 3
"""Of the mapping `balanceOf` in the test token."""


class Settlement(NamedTuple):
    amount_in: int
    amount_out: int


class SettlementReader:
    def __init__(self, rpc: Rpc, contracts: Contracts) -> None:
        self._rpc = rpc
        self._contracts = contracts

    def settle(self, pool: Pool, order: Order, block_hash: str) -> Settlement | None:
        """Of a pool with ticks, up to the order's price limit or the last price; None where the swap reverts."""
        limit = order.sqrt_price_limit_x96
        if limit is None:
            limit = MIN_SQRT_RATIO + 1 if order.zero_for_one else MAX_SQRT_RATIO - 1
        amount = -order.amount if order.exact_out else order.amount
        swap = positions.swap(self._contracts, pool, amount, limit, zero_for_one=order.zero_for_one)
        value = 2**127 if pool.token0 == NATIVE and order.zero_for_one else swap.value
        overrides = {TRADER: {"balance": hex(2**200)}}
        answer = self._call(swap.to, swap.data, block_hash, overrides, value)
        return None if answer is None else _settled(pool, words(answer), zero_for_one=order.zero_for_one)

    def accepts(self, pool: Pool, settlement: Settlement, block_hash: str, *, zero_for_one: bool) -> bool:
        """Whether a pair lets the output out once the input has been sent to it."""
        token = pool.token0 if zero_for_one else pool.token1
        balance = self._call(token, calldata("balanceOf(address)", pool.address), block_hash, {}, 0)
        assert balance is not None
        slot = keccak(encode(["address", "uint256"], [pool.address, BALANCES_SLOT]))
        held = (words(balance)[0] + settlement.amount_in).to_bytes(32, "big")
        overrides = {token: {"stateDiff": {"0x" + slot.hex(): "0x" + held.hex()}}}
        outs = (0, settlement.amount_out) if zero_for_one else (settlement.amount_out, 0)
        order = calldata("swap(uint256,uint256,address,bytes)", *outs, TRADER, b"")
        return self._call(pool.address, order, block_hash, overrides, 0) is not None

    def surplus(self, pool: Pool, block_hash: str) -> bool:
        """Whether a pair holds more than its reserves, which its next swap would take as input."""
        answers = [self._call(pool.address, calldata("getReserves()"), block_hash, {}, 0)]
        for token in (pool.token0, pool.token1):
            answers.append(self._call(token, calldata("balanceOf(address)", pool.address), block_hash, {}, 0))
        reserves, balance0, balance1 = (words(answer or "0x") for answer in answers)
        return [balance0[0], balance1[0]] != reserves[:2]

    def has_block(self, block_hash: str) -> bool:
        """A reorg takes blocks away."""
        return self._rpc.call("eth_getBlockByHash", block_hash, False) is not None

    def _call(
        self, to: str | None, data: str, block_hash: str, overrides: Mapping[str, object], value: int
    ) -> str | None:
        call = {"from": TRADER, "to": to, "data": data, "gas": hex(GAS), "value": hex(value)}
        try:
            return str(self._rpc.call("eth_call", call, {"blockHash": block_hash}, overrides))
        except CallFailed:
            return None


def _settled(pool: Pool, answer: list[int], *, zero_for_one: bool) -> Settlement:
    """Of the amounts that the pool got, or, in V4, that the trader got: two int128 in one word."""
    if pool.protocol == "v4":
        amount0, amount1 = -signed(answer[0] >> 128, 128), -signed(answer[0], 128)
    else:
        amount0, amount1 = signed(answer[0]), signed(answer[1])
    return Settlement(amount0, -amount1) if zero_for_one else Settlement(amount1, -amount0)
