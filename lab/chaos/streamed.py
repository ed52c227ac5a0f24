"""Programs that fold /stream while a round of chaos runs, compared with the chain and with the workers at its end."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from lab.chaos.stream_reader import StreamReader
from lab.devnet.chain.blocks import MinedBlock
from lab.devnet.chain.contracts import Pool
from lab.devnet.reference.reader import ReferenceReader, field_differences, tick_differences
from lab.devnet.reference.worker_client import WorkerClient

SETTLE_S = 60.0
"""From the end of the round until a reader must be at the tip."""
EVENTS_PER_CONNECTION = 40
PAUSE_S = 4.0
"""Of the reader that comes back again and again: reorgs may be deeper than what it slept."""
ENVELOPE = {"chain", "chain_id", "block", "age_s", "finalized"}


class StreamReaders:
    """One that stays connected and folds ticks too, and one that reads a while and pauses."""

    def __init__(self, urls: Sequence[str]) -> None:
        steady = StreamReader(list(urls), "ticks=true")
        pausing = StreamReader(list(reversed(urls)), most_events=EVENTS_PER_CONNECTION, pause_s=PAUSE_S)
        self._readers = {"steady": steady, "pausing": pausing}
        self._threads = [
            threading.Thread(target=reader.run, name=f"{name} reader", daemon=True)
            for name, reader in self._readers.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers.values():
            reader.stopping.set()
        for thread in self._threads:
            thread.join(SETTLE_S)

    @property
    def counts(self) -> Counter[str]:
        """Events and connections lost, of both."""
        together = sum((reader.counts for reader in self._readers.values()), Counter[str]())
        return Counter({f"stream {name}": count for name, count in together.items()})

    def differences(
        self, served: Sequence[WorkerClient], reference: ReferenceReader, pools: Sequence[Pool], tip: MinedBlock
    ) -> list[str]:
        """Where events contradict each other, or what it folded is not the chain's or what workers serve."""
        found: list[str] = []
        for name, reader in self._readers.items():
            wrong = _settled(reader, served, reference, pools, tip)
            found += [f"{name} reader of /stream: {each}" for each in (*reader.wrong, *wrong)]
        return found


def _settled(
    reader: StreamReader,
    served: Sequence[WorkerClient],
    reference: ReferenceReader,
    pools: Sequence[Pool],
    tip: MinedBlock,
) -> list[str]:
    """What is wrong with it at the tip, after it had time to get there."""
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        with reader.lock:
            found = _from_workers(reader, served, tip)
            if not found:
                return _from_chain(reader, reference, pools, tip)
        if time.monotonic() > deadline_s:
            return found
        time.sleep(0.5)


def _from_workers(reader: StreamReader, served: Sequence[WorkerClient], tip: MinedBlock) -> list[str]:
    if reader.block is None or reader.block["hash"] != tip.hash:
        return [f"it is at {reader.block}, the tip is {tip.number} {tip.hash}; {dict(reader.counts)}"]
    found: list[str] = []
    for worker in served:
        answer = worker.get("/pools/?limit=5000")
        if answer is None:
            return [f"{worker.url} does not answer"]
        theirs = {
            pool["id"]: {name: value for name, value in pool.items() if name not in ENVELOPE}
            for pool in answer["pools"]
        }
        found += [
            f"{id_} is {reader.pools.get(id_)}, {worker.url} serves {theirs.get(id_)}"
            for id_ in sorted(reader.pools.keys() | theirs.keys())
            if reader.pools.get(id_) != theirs.get(id_)
        ]
    return found


def _from_chain(reader: StreamReader, reference: ReferenceReader, pools: Sequence[Pool], tip: MinedBlock) -> list[str]:
    found: list[str] = []
    for pool in pools:
        state = reader.pools.get(pool.id, {}).get("state")
        if state is None:
            found.append(f"{pool.id} is not live: {reader.pools.get(pool.id)}")
            continue
        truth = reference.truth(pool, tip.hash)
        found += [f"{pool.id}: {each}" for each in field_differences(state, truth)]
        if reader.has_ticks and pool.protocol != "v2":
            ticks = [
                {"tick": tick, "liquidity_gross": gross, "liquidity_net": net}
                for tick, (gross, net) in sorted(reader.ticks.get(pool.id, {}).items())
            ]
            found += [f"{pool.id}: {each}" for each in tick_differences(ticks, truth)]
    return found
