"""What of a partition is stored under which key, and how it is put together again. Pure.

Keys: `0x…` a pool's small head record (the pool's Kafka key), `t/…` its ticks at the base, one row per bitmap word,
`h/…` a snapshot ahead of the head, `s/…` what came for a pool not listed yet, `c/…` one remembered block,
`~chain` what ties a partition's rows together.
Every row is harmless to write twice, and rows of one chunk may be found written in part (rule 12):
* heads carry the positions up to which they have read each topic, so what is read again is skipped for them;
* ticks have the snapshot in the key on which they stand, so those of another are never mixed with them;
* each tick row says up to which block it is folded, so that a change is folded into it once;
* what a row replaces goes after it, and what is found without its pool goes at load.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping

import msgspec

from protocols import concentrated
from protocols.concentrated import Price
from protocols.events import LiquidityChange
from protocols.folding import Fees, PriceState
from protocols.states import Tick
from protocols.ticks import InvariantViolation, Liquidity, Ticks, change_end, changed, from_ticks, word_of
from protocols.types import Block, PoolId
from streams.kafka.records import Header, Listed, Snapshot, Update
from tables.chain import CanonicalChain
from tables.pool import Base, Live, Pool, Story, Touched, UnlistedPool, Waiting

CHAIN = b"~chain"
STRANGERS = b"s/"
HEADS = b"c/"
TICKS = b"t/"
HELD = b"h/"
POOLS = b"0x"

Positions = Mapping[str, int]
"""Topic to the offset of the last record that is folded in."""
Scan = Callable[[bytes], Iterator[tuple[bytes, bytes]]]
Rows = dict[bytes, bytes | None]
"""New values by key, in the order in which they are to be written; None deletes."""


class LiveRow(msgspec.Struct, frozen=True, tag="live"):
    reference: Block
    base_block: Block
    base_price: PriceState
    tick_count: int
    recent: tuple[Touched, ...]
    fees: Fees | None
    verified: Block | None
    audit_from: int | None


class WaitingRow(Waiting, frozen=True, tag="waiting"):
    pass


class PoolRow(msgspec.Struct, frozen=True):
    listed: Listed
    life: WaitingRow | LiveRow
    story: Story
    positions: dict[str, int]


class TicksRow(msgspec.Struct, frozen=True):
    word: int
    folded: Block
    """The last block whose changes are in it."""
    ticks: tuple[Tick, ...]


class StrangerRow(msgspec.Struct, frozen=True):
    stranger: UnlistedPool
    followed: int
    """Offset of the last record of `chain` that is folded in."""


class ChainRow(msgspec.Struct, frozen=True):
    tip: str | None
    """Hash of the head."""
    partial: tuple[Update, ...]
    illegible: tuple[PoolId, ...]
    since: int
    term: int
    positions: dict[str, int]


_pool_row = msgspec.json.Decoder(PoolRow)
_ticks_row = msgspec.json.Decoder(TicksRow)
_chain_row = msgspec.json.Decoder(ChainRow)
_header = msgspec.json.Decoder(Header)
_snapshot = msgspec.json.Decoder(Snapshot)
_stranger_row = msgspec.json.Decoder(StrangerRow)
_encode = msgspec.json.Encoder().encode


def pool_key(pool: PoolId) -> bytes:
    return pool.encode()


def pool_changes(pool: PoolId, before: Pool | None, after: Pool | None, positions: Positions) -> Rows:
    """What to write so that `after` is stored where `before` is: ticks first, then the head, then what it lets go."""
    written: Rows = {}
    let_go: Rows = {}
    old, new = _base(before), _base(after)
    kept: Mapping[int, Mapping[int, Liquidity]] = {}
    if old and new and _generation(before) == _generation(after):
        kept = old.ticks.parts
    elif old:
        let_go = dict.fromkeys((_ticks_key(pool, _generation(before), word) for word in old.ticks.parts), None)
    if new:
        for word in new.ticks.parts.keys() | kept.keys():
            part = new.ticks.parts.get(word, {})
            if kept.get(word) is not part:
                written[_ticks_key(pool, _generation(after), word)] = _ticks_bytes(word, new.block, part)
    old_held, new_held = before.held if before else None, after.held if after else None
    if new_held and new_held is not old_held:
        written[_held_key(pool)] = _encode(new_held)
    elif old_held and not new_held:
        let_go[_held_key(pool)] = None
    written[pool_key(pool)] = _encode(_row(after, positions)) if after else None
    return written | let_go


def _base(pool: Pool | None) -> Base | None:
    return pool.life.base if pool and isinstance(pool.life, Live) else None


def _generation(pool: Pool | None) -> str:
    assert pool and isinstance(pool.life, Live)
    return _generation_of(pool.life.reference, pool.story)


def _generation_of(reference: Block, story: Story) -> str:
    """The count tells two snapshots of the same block apart: the second replaces a state that was found wrong."""
    return f"{reference.number}-{reference.hash[2:18]}-{story.snapshots}"


def _ticks_key(pool: PoolId, generation: str, word: int) -> bytes:
    return _ticks_prefix(pool) + f"{generation}/{word}".encode()


def _ticks_prefix(pool: PoolId) -> bytes:
    return TICKS + f"{pool}/".encode()


def _held_key(pool: PoolId) -> bytes:
    return HELD + pool.encode()


def _ticks_bytes(word: int, folded: Block, part: Mapping[int, Liquidity]) -> bytes:
    return _encode(TicksRow(word, folded, tuple(Tick(tick, *part[tick]) for tick in sorted(part))))


def _row(pool: Pool, positions: Positions) -> PoolRow:
    life = pool.life
    if isinstance(life, Waiting):
        row: WaitingRow | LiveRow = WaitingRow(life.reason, life.since, life.pending)
    else:
        row = LiveRow(
            reference=life.reference,
            base_block=life.base.block,
            base_price=life.base.price,
            tick_count=len(life.base.ticks),
            recent=life.recent,
            fees=life.fees,
            verified=life.verified,
            audit_from=life.audit_from,
        )
    return PoolRow(pool.listed, row, pool.story, dict(positions))


class Stored(msgspec.Struct, frozen=True):
    pool: Pool
    positions: Positions
    stale: tuple[bytes, ...]
    """Keys of tick rows that belong to no state any more."""
    whole: bool
    """False where the rows had to be brought up to each other: they are to be written again."""


def stored_pool(value: bytes, get: Callable[[bytes], bytes | None], scan: Scan) -> Stored:
    """Raises InvariantViolation, where the pool's rows do not agree; `stored_head` still reads its head record."""
    row = _pool_row.decode(value)
    pool = row.listed.pool.id
    held = get(_held_key(pool))
    found = dict(scan(_ticks_prefix(pool)))
    if isinstance(row.life, WaitingRow):
        life: Waiting | Live = Waiting(row.life.reason, row.life.since, row.life.pending)
        stale, whole = tuple(found), True
    else:
        prefix = _ticks_prefix(pool) + f"{_generation_of(row.life.reference, row.story)}/".encode()
        parts = [_ticks_row.decode(value) for key, value in found.items() if key.startswith(prefix)]
        life = _live(row.life, row.listed.pool.tick_spacing or 1, parts)
        stale = tuple(key for key in found if not key.startswith(prefix))
        whole = life.base.block == row.life.base_block
    snapshot = _snapshot.decode(held) if held else None
    return Stored(Pool(row.listed, life, snapshot, row.story), row.positions, stale, whole)


def ticks_keys(pool: PoolId, scan: Scan) -> tuple[bytes, ...]:
    return tuple(key for key, _ in scan(_ticks_prefix(pool)))


def orphans(pools: Container[PoolId], chain: CanonicalChain, scan: Scan) -> list[bytes]:
    """Keys that a crash left behind: of pools that are off the list, and of blocks that are not on the chain."""
    known = {_head_key(head) for head in chain.heads}
    blocks = [key for key, _ in scan(HEADS) if key not in known]
    of_pools = [key for prefix in (TICKS, HELD) for key, _ in scan(prefix)]
    return blocks + [key for key in of_pools if PoolId(key.split(b"/")[1].decode()) not in pools]


def stored_head(value: bytes) -> PoolRow:
    """The head record alone, for a pool whose other rows do not fit it."""
    return _pool_row.decode(value)


def _live(row: LiveRow, spacing: int, parts: list[TicksRow]) -> Live:
    ticks = from_ticks(spacing, (tick for part in parts for tick in part.ticks))
    base, recent = Base(row.base_block, row.base_price, ticks), row.recent
    folded = max((part.folded for part in parts), default=row.base_block, key=lambda block: block.number)
    if folded.number > row.base_block.number:
        base, recent = _catch_up(row, ticks, parts, folded)
    elif len(ticks) != row.tick_count:
        raise InvariantViolation(f"{len(ticks)} of {row.tick_count} ticks are stored")
    if isinstance(base.price, Price):
        concentrated.check_whole(base.price, base.ticks)
    head = base.ticks
    for change in _changes(recent):
        head = changed(head, change)
    return Live(row.reference, base, recent, head, row.fees, row.verified, row.audit_from)


def _catch_up(row: LiveRow, ticks: Ticks, stored: list[TicksRow], folded: Block) -> tuple[Base, tuple[Touched, ...]]:
    """A crash came between the tick rows and the head: the tick rows not written yet are brought up to the others."""
    done = {each.word: each.folded.number for each in stored}
    old = [touched for touched in row.recent if touched.block.number <= folded.number]
    if not old or old[-1].block != folded:
        raise InvariantViolation(f"ticks are folded up to {folded}, which the pool does not remember")
    parts = dict(ticks.parts)
    for touched in old:
        for change in _changes([touched]):
            for tick, net in ((change.tick_lower, change.delta), (change.tick_upper, -change.delta)):
                word = word_of(tick, ticks.spacing)
                if touched.block.number > done.get(word, row.base_block.number):
                    change_end(parts, word, tick, change.delta, net)
    return Base(old[-1].block, old[-1].after, Ticks(ticks.spacing, parts)), row.recent[len(old) :]


def _changes(blocks: Iterable[Touched]) -> Iterator[LiquidityChange]:
    return (event for each in blocks for event in each.events if isinstance(event, LiquidityChange))


def chain_changes(before: CanonicalChain, after: CanonicalChain, positions: Positions) -> Rows:
    old = {_head_key(head): head for head in before.heads}
    new = {_head_key(head): head for head in after.heads}
    rows: Rows = {key: _encode(head) for key, head in new.items() if key not in old}
    tip = after.head.hash if after.head else None
    rows[CHAIN] = _encode(ChainRow(tip, after.partial, after.illegible, after.since, after.term, dict(positions)))
    return rows | dict.fromkeys((key for key in old if key not in new), None)


def _head_key(head: Header) -> bytes:
    return HEADS + f"{head.number:012d}/{head.hash[2:]}".encode()


def stored_chain(memory: int, get: Callable[[bytes], bytes | None], scan: Scan) -> tuple[CanonicalChain, Positions]:
    value = get(CHAIN)
    if value is None:
        return CanonicalChain(memory), {}
    row = _chain_row.decode(value)
    by_hash = {head.hash: head for head in (_header.decode(each) for _, each in scan(HEADS))}
    heads: list[Header] = []
    head = by_hash.get(row.tip or "")
    while head is not None and len(heads) < memory and (not heads or head.number == heads[-1].number - 1):
        heads.append(head)
        head = by_hash.get(head.parent)
    return CanonicalChain(
        memory, tuple(reversed(heads)), row.partial, row.illegible, row.since, row.term
    ), row.positions


def stranger_changes(pool: PoolId, stranger: UnlistedPool | None, positions: Positions) -> Rows:
    row = StrangerRow(stranger, positions.get("chain", -1)) if stranger else None
    return {STRANGERS + pool.encode(): _encode(row) if row else None}


def stored_strangers(chain: CanonicalChain, positions: Positions, scan: Scan) -> Iterator[tuple[PoolId, UnlistedPool]]:
    """One that is ahead of the chain forgets what it kept: the blocks after the head come again."""
    since = chain.head.number + 1 if chain.head else chain.since
    for key, value in scan(STRANGERS):
        row = _stranger_row.decode(value)
        ahead = row.followed > positions.get("chain", -1)
        yield PoolId(key.removeprefix(STRANGERS).decode()), row.stranger if not ahead else UnlistedPool(since=since)
