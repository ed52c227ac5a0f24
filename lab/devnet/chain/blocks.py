"""Blocks on anvil: mined on demand, rewound and replaced."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from lab.devnet.chain.evm import Rpc
from lab.devnet.chain.programs import trader

TRADER = "0x00000000000000000000000000000000000a4e4a"
"""Owns every factory, token and position; it runs code of ours and is impersonated, so it needs no router."""
GAS_PER_TRANSACTION = 20_000_000


class Transaction(NamedTuple):
    to: str | None
    """None creates a contract."""
    data: str
    value: int = 0
    gas: int = GAS_PER_TRANSACTION


class MinedBlock(msgspec.Struct, frozen=True):
    number: int
    hash: str
    transactions: tuple[str, ...]


class Chain:
    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc
        self.head_lock = threading.Lock()
        """Held while the head changes. anvil (1.7.1) answers a call on its head from the block that it is just making,
        whatever hash the call names; a reader in another thread holds this lock for a right answer."""
        for method, parameters in (
            ("evm_setAutomine", [False]),
            ("anvil_setCode", [TRADER, "0x" + trader().hex()]),
            ("anvil_setBalance", [TRADER, hex(10**40)]),
            ("anvil_impersonateAccount", [TRADER]),
        ):
            rpc.call(method, *parameters)
        self._refresh_tip()

    def mine(self, transactions: Sequence[Transaction] = ()) -> MinedBlock:
        """One block with the transactions in their order; what reverts is mined too."""
        nonce = int(self.rpc.call("eth_getTransactionCount", TRADER, "latest"), 16)
        self.rpc.batch(
            [("eth_sendTransaction", [_request(each, nonce + index)]) for index, each in enumerate(transactions)]
        )
        with self.head_lock:
            self.rpc.call("evm_mine")
        return self._refresh_tip()

    def mine_empty(self, blocks: int) -> MinedBlock:
        """So many empty blocks, at once."""
        with self.head_lock:
            self.rpc.call("anvil_mine", hex(blocks))
        return self._refresh_tip()

    def create(self, *initcodes: str) -> list[str]:
        """The addresses of contracts created in one block. Raises RuntimeError where one cannot be."""
        block = self.mine([Transaction(None, code) for code in initcodes])
        receipts = self.rpc.batch([("eth_getTransactionReceipt", [each]) for each in block.transactions])
        if failed := [number for number, receipt in enumerate(receipts) if receipt["status"] != "0x1"]:
            raise RuntimeError(f"contracts {failed} of {len(initcodes)} could not be created")
        return [str(receipt["contractAddress"]).lower() for receipt in receipts]

    def succeed(self, transactions: Sequence[Transaction]) -> MinedBlock:
        """`mine`, with every transaction's success required."""
        block = self.mine(transactions)
        receipts = self.rpc.batch([("eth_getTransactionReceipt", [each]) for each in block.transactions])
        for transaction, receipt in zip(transactions, receipts, strict=True):
            if receipt["status"] != "0x1":
                raise RuntimeError(
                    f"a call of {transaction.to} reverted in block {block.number}: {transaction.data[:138]}"
                )
        return block

    def rewind(self, depth: int) -> MinedBlock:
        """Goes back to the block `depth` below the tip; what is mined next replaces what was there."""
        with self.head_lock:
            self.rpc.call("anvil_rollback", depth)
        return self._refresh_tip()

    def replace(self, depth: int) -> MinedBlock:
        """anvil's own reorg: the last `depth` blocks become empty ones of the same numbers, at once."""
        with self.head_lock:
            self.rpc.call("anvil_reorg", depth, [])
        return self._refresh_tip()

    def _refresh_tip(self) -> MinedBlock:
        block = self.rpc.call("eth_getBlockByNumber", "latest", False)
        self.tip = MinedBlock(int(block["number"], 16), block["hash"], tuple(block["transactions"]))
        return self.tip


def _request(transaction: Transaction, nonce: int) -> dict[str, str]:
    request = {
        "from": TRADER,
        "data": transaction.data,
        "value": hex(transaction.value),
        "gas": hex(transaction.gas),
        "maxFeePerGas": hex(10**12),
        "maxPriorityFeePerGas": "0x1",
        "nonce": hex(nonce),
    }
    return request if transaction.to is None else {**request, "to": transaction.to}
