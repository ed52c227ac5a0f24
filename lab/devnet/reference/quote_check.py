"""Compares random quotes of the workers with what the chain would settle at the blocks that they name."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lab.devnet.chain.contracts import Pool
from lab.devnet.chain.evm import Rpc
from lab.devnet.chain.world import World
from lab.devnet.reference.settlement import Settlement, SettlementReader
from lab.devnet.reference.worker_client import WorkerClient
from protocols.quotes.order import Order

KNOWN_ONLY_TO_THE_SYSTEM = {"waiting", "unknown_pool"}
"""Reasons that the chain cannot confirm."""
MOST_AMOUNT = 10**24


class QuoteChecker:
    def __init__(self, world: World, chosen: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._world = world
        self._random = chosen
        self._settlements = SettlementReader(Rpc(world.chain.rpc.url), world.contracts)

    def check_one(self, served: WorkerClient, pool: Pool) -> None:
        order = self._order()
        kind = "amount_out" if order.exact_out else "amount_in"
        token = pool.token0 if order.zero_for_one else pool.token1
        answer = served.get(f"/pools/{pool.id}/quote?token_in={token}&{kind}={order.amount}")
        if answer is None or answer.get("reason") in KNOWN_ONLY_TO_THE_SYSTEM or "block" not in answer:
            self.counts["quotes not given"] += 1
            return
        self._compare(pool, order, answer, answer["block"]["hash"])

    def check_many(self, served: WorkerClient, pools: Sequence[Pool]) -> None:
        orders = [(pool, self._order()) for pool in pools]
        answer = served.post("/quote", {"quotes": [_body(pool, order) for pool, order in orders]})
        if answer is None:
            self.counts["quotes not given"] += 1
            return
        for (pool, order), each in zip(orders, answer["quotes"], strict=True):
            if each.get("reason") in KNOWN_ONLY_TO_THE_SYSTEM:
                self.counts["quotes not given"] += 1
            else:
                self._compare(pool, order, each, answer["block"]["hash"])

    def _order(self) -> Order:
        amount = int(10 ** self._random.uniform(0, 24))
        return Order(self._random.random() < 0.5, amount, exact_out=self._random.random() < 0.4)

    def _compare(self, pool: Pool, order: Order, answer: Mapping[str, Any], block_hash: str) -> None:
        with self._world.chain.head_lock:
            if not self._settlements.has_block(block_hash):
                self.counts["quotes of replaced blocks"] += 1
                return
            wrong = self._difference(pool, order, answer, block_hash)
        self.counts["quotes compared"] += 1
        if wrong:
            self.wrong.append(f"{pool.protocol} {pool.id} {order} at {block_hash}: {wrong}")

    def _difference(self, pool: Pool, order: Order, answer: Mapping[str, Any], block_hash: str) -> str | None:
        """A sentence; None where the chain would settle just that, or refuses the swap too."""
        if pool.protocol == "v2":
            return self._of_pair(pool, order, answer, block_hash)
        settled = self._settlements.settle(pool, order, block_hash)
        if answer.get("reason") == "liquidity":
            found = Settlement(int(answer["most_amount_in"]), int(answer["most_amount_out"]))
        elif "reason" in answer:
            return f"refused ({answer['error']}), the chain settles {settled}" if settled else None
        else:
            found = Settlement(int(answer["amount_in"]), int(answer["amount_out"]))
        return None if found == settled else f"quoted {found}, the chain settles {settled}"

    def _of_pair(self, pool: Pool, order: Order, answer: Mapping[str, Any], block_hash: str) -> str | None:
        """One unit more must not come out, unless somebody has left tokens in the pair."""
        direction, accepts = order.zero_for_one, self._settlements.accepts
        if "reason" in answer:
            least = Settlement(order.amount, 1) if not order.exact_out else Settlement(2**111, order.amount)
            left = self._settlements.surplus(pool, block_hash)
            taken = accepts(pool, least, block_hash, zero_for_one=direction)
            return f"refused ({answer['error']}), the pair accepts {least}" if taken and not left else None
        quoted = Settlement(int(answer["amount_in"]), int(answer["amount_out"]))
        if not accepts(pool, quoted, block_hash, zero_for_one=direction):
            return f"quoted {quoted}, the pair refuses it"
        better = quoted._replace(amount_out=quoted.amount_out + 1)
        if order.exact_out:
            better = quoted._replace(amount_in=max(0, quoted.amount_in - 2))
        if accepts(pool, better, block_hash, zero_for_one=direction) and not self._settlements.surplus(
            pool, block_hash
        ):
            return f"quoted {quoted}, the pair accepts {better}"
        return None


def _body(pool: Pool, order: Order) -> dict[str, str]:
    kind = "amount_out" if order.exact_out else "amount_in"
    token = pool.token0 if order.zero_for_one else pool.token1
    return {"pool": pool.id, "token_in": token, kind: str(order.amount)}
