"""One partition with its rows in a dict, folded block by block; a crash leaves a commit's rows written in part."""

from lab.fuzz.chain_model import metadata
from lab.fuzz.model_run import MemoryRows
from protocols.registry import Event, State
from protocols.ticks import LiquidityChange, Tick
from protocols.types import Block, PoolMetadata
from protocols.v3 import V3State
from protocols.v4 import V4State
from streams.kafka.records import Head, Header, Listed, Snapshot, Update
from tables import rows
from tables.fold import fold_chain, fold_listing, fold_snapshot
from tables.healing import load
from tables.partition import Changes, Partition

MEMORY = 4
V3, V4 = metadata(0, "v3"), metadata(1, "v4")
NEAR, FAR = LiquidityChange(-60, 60, 5), LiquidityChange(600_000, 600_060, 7)


def block(number: int) -> Block:
    return Block(number, f"0x{number:064x}")


def state(pool: PoolMetadata, *ticks: Tick, liquidity: int = 0) -> State:
    if pool.protocol == "v4":
        return V4State(1 << 96, 0, liquidity, ticks, lp_fee=3000, protocol_fee=7)
    return V3State(1 << 96, 0, liquidity, ticks)


class Store:
    """A partition and its rows; every block is one of the single fork there is."""

    def __init__(self, *pools: PoolMetadata) -> None:
        self.rows = MemoryRows()
        self.offset = 0
        """Of the last record."""
        self.changes = Changes(Partition(MEMORY))
        self.last = 0
        self.written = 0, 0
        """The last block whose rows are all written, and the offset of its last record."""
        for pool in pools:
            fold_listing(self.changes, pool.id, Listed(pool, 0), self.next_offset())
        self.block()

    def block(self, *events: Event, pool: PoolMetadata = V3) -> None:
        self.last += 1
        if events:
            fold_chain(self.changes, Update(pool.id, block(self.last), events), self.next_offset())
        header = Header(self.last, block(self.last).hash, block(self.last - 1).hash, self.last)
        fold_chain(self.changes, Head(header, 1 if events else 0), self.next_offset())

    def next_offset(self) -> int:
        self.offset += 1
        return self.offset

    def snapshot(self, pool: PoolMetadata, state: State, number: int | None = None) -> None:
        at = block(self.last if number is None else number)
        fold_snapshot(self.changes, Snapshot(pool.id, at, state), self.next_offset())

    @property
    def partition(self) -> Partition:
        return self.changes.partition

    def write(self, only: int | None = None) -> rows.Rows:
        written = self.commit()
        self.rows.write(written, only)
        self.written = self.last, self.offset
        return written

    def commit(self) -> rows.Rows:
        written = self.changes.commit("chain", self.offset)
        self.changes = Changes(self.partition)
        return written

    def unlist(self, pool: PoolMetadata) -> None:
        fold_listing(self.changes, pool.id, None, self.next_offset())

    def load(self, memory: int = MEMORY) -> Changes:
        changes, self.invalidated, self.forgotten = load(memory, self.rows.get, self.rows.scan)
        return changes

    def crash(self, only: int) -> None:
        """Some rows of the commit are written; the next worker loads them, and Kafka delivers the blocks again."""
        last, offset = self.written
        self.rows.write(self.commit(), only)
        self.changes, self.last, self.offset = self.load(), last, offset

    def keys(self, prefix: str) -> list[str]:
        return [key.decode() for key in self.rows if key.startswith(prefix.encode())]
