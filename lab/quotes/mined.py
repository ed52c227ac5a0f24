"""Random swaps sent to the real contracts, and their logs compared with quotes to the last unit."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from lab.devnet.chain import positions
from lab.devnet.chain.blocks import TRADER, Transaction
from lab.devnet.chain.contracts import NATIVE, Pool
from lab.devnet.chain.evm import calldata, signed, words
from lab.devnet.chain.world import World
from lab.quotes.model import PoolModel, read_models
from lab.quotes.orders import is_consistent, random_order, swap_to_the_end
from protocols.abi import event_abi
from protocols.concentrated import Price
from protocols.quotes.order import Order, Quote, QuoteRefused, RefusalKind
from protocols.quotes.tick_maths import MAX_SQRT_RATIO, MIN_SQRT_RATIO
from protocols.types import PoolId
from protocols.v2 import SYNC
from protocols.v3 import PANCAKE_SWAP
from protocols.v3 import SWAP as V3_SWAP
from protocols.v4 import SWAP as V4_SWAP
from protocols.v4 import swap_fees

GAS = 500_000_000
"""A swap of a pool with tick spacing 1 may step through thousands of words of its bitmap."""
SWAPS_PER_BLOCK = 40
BLOCKS_PER_READ = 5
"""Then liquidity changes are mined, and all pools are read again."""
TOPICS = {"0x" + event_abi(log).topic0.hex() for log in (SYNC, V3_SWAP, PANCAKE_SWAP, V4_SWAP)}


class Sent(NamedTuple):
    """Transactions that make one order, which of them must succeed, and what the last one's log must say."""

    pool: Pool
    order: Order
    transactions: Sequence[Transaction]
    succeeds: Sequence[bool]
    expected: dict[str, int] | None


class MinedSwaps:
    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self._swaps: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._random = random.Random(seed)
        self._models: dict[PoolId, PoolModel] = {}
        world.chain.rpc.call("evm_setBlockGasLimit", hex(10**12))
        world.chain.rpc.call("anvil_setBalance", TRADER, hex(10**60))

    def run(self, swaps: int) -> tuple[Counter[str], list[str]]:
        """How many orders were settled or reverted, by DEX, and what was not as quoted."""
        blocks = 0
        while self._swaps.total() < swaps and not self._wrong:
            if blocks % BLOCKS_PER_READ == 0:
                self._read()
            self._block(min(SWAPS_PER_BLOCK, swaps - self._swaps.total()))
            blocks += 1
        return self._swaps, self._wrong

    def _read(self) -> None:
        """What a reverted swap of the traffic left in a pair would count as input; it is taken out."""
        for _ in range(3):
            self.world.mine()
        pairs = [pool for pool in self.world.pools if pool.protocol == "v2"]
        tip = self.world.chain.mine([_skim(pool) for pool in pairs])
        self._models = read_models(self.world.reference, self.world.pools, tip.number, tip.hash)

    def _block(self, swaps: int) -> None:
        sent = [self._sent(self._random.choice(list(self._models.values()))) for _ in range(swaps)]
        block = self.world.chain.mine([each for one in sent for each in one.transactions])
        self.world.traffic.remember(block.number)
        receipts = iter(
            self.world.chain.rpc.batch([("eth_getTransactionReceipt", [each]) for each in block.transactions])
        )
        for one in sent:
            self._compare(one, [next(receipts) for _ in one.transactions])
        heads = self.world.reference.heads(self.world.pools, block.hash)
        for model in self._models.values():
            found = {name: heads[model.pool.id][name] for name in model.fields}
            if found != model.fields:
                self._wrong.append(f"{model.pool}: the state is {found}, the quotes lead to {model.fields}")

    def _sent(self, model: PoolModel) -> Sent:
        order = random_order(self._random, model)
        filled = swap_to_the_end(model, order)
        if not is_consistent(model, order, filled):
            self._wrong.append(f"{model.pool} {order}: with a limit at the end {filled}, without it another one")
        sent = _v2(model, order, filled) if model.pool.protocol == "v2" else self._ticks(model, order, filled)
        kind = filled.kind if isinstance(filled, QuoteRefused) else "settled"
        self._swaps[f"{_dex(model.pool)} {kind}"] += 1
        if isinstance(filled, Quote):
            model.settle(filled)
        return sent

    def _ticks(self, model: PoolModel, order: Order, filled: Quote | QuoteRefused) -> Sent:
        limit = order.sqrt_price_limit_x96
        if limit is None:
            limit = MIN_SQRT_RATIO + 1 if order.zero_for_one else MAX_SQRT_RATIO - 1
        amount = -order.amount if order.exact_out else order.amount
        contracts = self.world.contracts
        swap = positions.swap(contracts, model.pool, amount, limit, zero_for_one=order.zero_for_one)
        if model.pool.token0 == NATIVE and order.zero_for_one:
            swap = swap._replace(value=filled.amount_in if isinstance(filled, Quote) else 0)
        return Sent(model.pool, order, [swap._replace(gas=GAS)], [isinstance(filled, Quote)], _expected(model, filled))

    def _compare(self, sent: Sent, receipts: list[dict[str, Any]]) -> None:
        succeeded = [receipt["status"] == "0x1" for receipt in receipts]
        logs = [log for log in receipts[-1]["logs"] if log["topics"][0] in TOPICS]
        found = _settled(sent.pool, logs[-1]) if logs else None
        if succeeded != list(sent.succeeds) or found != sent.expected:
            self._wrong.append(
                f"{sent.pool} {sent.order}: expected {sent.succeeds} and {sent.expected}, found {succeeded} and {found}"
            )


def _expected(model: PoolModel, filled: Quote | QuoteRefused) -> dict[str, int] | None:
    """What the Swap log must say."""
    if isinstance(filled, QuoteRefused):
        return None
    assert isinstance(filled.after, Price)
    paid0, paid1 = filled.amount_in, -filled.amount_out
    amounts = (paid0, paid1) if filled.zero_for_one else (paid1, paid0)
    expected = dict(zip(("amount0", "amount1"), amounts, strict=True)) | {
        name: getattr(filled.after, name) for name in filled.after.__struct_fields__
    }
    if model.fees:
        expected["fee"] = swap_fees(model.fees)[not filled.zero_for_one]
    return expected


def _settled(pool: Pool, log: dict[str, Any]) -> dict[str, int]:
    data = words(log["data"])
    if pool.protocol == "v2":
        return {"reserve0": data[0], "reserve1": data[1]}
    sign = -1 if pool.protocol == "v4" else 1
    found = {
        "amount0": sign * signed(data[0]),
        "amount1": sign * signed(data[1]),
        "sqrt_price_x96": data[2],
        "tick": signed(data[4]),
        "liquidity": data[3],
    }
    return found | {"fee": data[5]} if pool.protocol == "v4" else found


def _v2(model: PoolModel, order: Order, filled: Quote | QuoteRefused) -> Sent:
    """One unit more must not come out, nor the output for two units less; a refused swap must revert."""
    pool = model.pool
    pay, take = _pay(pool, order), _take(pool, order)
    if isinstance(filled, Quote):
        expected = {name: getattr(filled.after, name) for name in filled.after.__struct_fields__}
        if order.exact_out and filled.amount_in > 2:
            return Sent(
                pool,
                order,
                [pay(filled.amount_in - 2), take(filled.amount_out), pay(2), take(filled.amount_out)],
                [True, False, True, True],
                expected,
            )
        more = [] if order.exact_out else [take(filled.amount_out + 1)]
        transactions = [pay(filled.amount_in), *more, take(filled.amount_out)]
        return Sent(pool, order, transactions, [True, *(False for _ in more), True], expected)
    if filled.kind is RefusalKind.LIQUIDITY:
        return Sent(pool, order, [take(order.amount)], [False], None)
    out = order.amount if order.exact_out else 1
    paid = order.amount if not order.exact_out else 2**112
    return Sent(pool, order, [pay(paid), take(out), _skim(pool)], [True, False, True], None)


def _skim(pool: Pool) -> Transaction:
    return Transaction(pool.address, calldata("skim(address)", TRADER))


def _pay(pool: Pool, order: Order) -> Any:
    token = pool.token0 if order.zero_for_one else pool.token1
    return lambda amount: Transaction(token, calldata("transfer(address,uint256)", pool.address, amount))


def _take(pool: Pool, order: Order) -> Any:
    def take(amount: int) -> Transaction:
        outs = (0, amount) if order.zero_for_one else (amount, 0)
        return Transaction(pool.address, calldata("swap(uint256,uint256,address,bytes)", *outs, TRADER, b""))

    return take


def _dex(pool: Pool) -> str:
    return "pancakeswap v3" if pool.protocol == "v3" and pool.fee == 2500 else pool.protocol
