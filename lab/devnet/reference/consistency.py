"""Compares random answers of the workers with the chain while blocks come."""

import random
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from urllib.error import HTTPError

from lab.devnet.chain.contracts import Pool
from lab.devnet.chain.evm import CallFailed, Rpc
from lab.devnet.chain.world import World
from lab.devnet.reference.quote_check import QuoteChecker
from lab.devnet.reference.reader import ReferenceReader, field_differences, tick_differences
from lab.devnet.reference.worker_client import Answer, WorkerClient


class ConsistencyChecker(threading.Thread):
    """Queries random pools until stopped, and compares each answer with the chain at the block that it names.

    Where a reorg has removed that block from the node, the archive of the world stands in for it.
    """

    def __init__(self, urls: Sequence[str], world: World) -> None:
        super().__init__(name="watch", daemon=True)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._served = [WorkerClient(url) for url in urls]
        self._world = world
        self._reference = ReferenceReader(Rpc(world.chain.rpc.url), world.contracts.multicall)
        self._pools = list(world.pools)
        self._quotes = QuoteChecker(world, random.Random(len(world.pools)))
        self._random = random.Random(len(world.pools))
        self._stopping = threading.Event()
        self._completed = False

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._check_pool(self._random.choice(self._pools))
                self._check_quotes()
            except HTTPError as error:
                self.wrong.append(f"{error.url} answers with {error.code} {error.reason}")
        self._completed = True
        self.counts += self._quotes.counts
        self.wrong += self._quotes.wrong

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        if not self._completed:
            self.wrong.append("the checker itself failed; its traceback is above")

    def _check_pool(self, pool: Pool) -> None:
        served = self._random.choice(self._served)
        found = served.get(f"/pools/{pool.id}/")
        if found is None or found["state"] is None:
            self.counts["waiting" if found else "no answer"] += 1
            self._stopping.wait(0.05)
            return
        self._check_answer(pool, found)
        back = max(0, found["block"]["number"] - self._random.randrange(12))
        for path in (f"/pools/{pool.id}/?at={back}", f"/pools/{pool.id}/ticks/", f"/pools/{pool.id}/ticks/?at={back}"):
            answer = served.get(path)
            if answer is not None and (answer.get("state") or answer.get("ticks")):
                self._check_answer(pool, answer)

    def _check_quotes(self) -> None:
        served = self._random.choice(self._served)
        if self._random.random() < 0.2:
            self._quotes.check_many(served, self._random.sample(self._pools, 5))
        else:
            self._quotes.check_one(served, self._random.choice(self._pools))

    def _check_answer(self, pool: Pool, answer: Answer) -> None:
        block_hash = answer["block"]["hash"]
        differences = self._against_chain(pool, answer, block_hash)
        if differences is None:
            differences = self._against_archive(pool, answer, block_hash)
        if differences:
            said = f"{pool.protocol} {pool.id} at {answer['block']}: {'; '.join(differences)}"
            self.wrong.append(said)

    def _against_chain(self, pool: Pool, answer: Answer, block_hash: str) -> list[str] | None:
        with suppress(CallFailed), self._world.chain.head_lock:
            if "state" in answer:
                truth = self._reference.fields(pool, block_hash)
                self.counts["states compared"] += 1
                return field_differences(answer["state"], truth)
            truth = self._reference.truth(pool, block_hash)
            self.counts["tick lists compared"] += 1
            return tick_differences(answer["ticks"], truth)
        return None

    def _against_archive(self, pool: Pool, answer: Answer, block_hash: str) -> list[str]:
        heads = self._world.archive.get(block_hash)
        if heads is None:
            return ["there has never been such a block"]
        self.counts["of replaced blocks"] += 1
        fields = heads[pool.id]
        state = answer.get("state")
        return [f"{name} was {value}" for name, value in fields.items() if state and int(state[name]) != value]
