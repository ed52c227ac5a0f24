"""Rings of rows: each row holds the items that one write added, and is overwritten when none of them counts any more.

A write never touches a row that the stored head still counts, so a torn write leaves the ring as it was. Pure.
"""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple, TypeVar

from protocols.ticks import InvariantViolation
from protocols.types import PoolId
from tables import rows
from tables.rows import LiveRow, RingRow, RowsOfPool, StoredBlock

T = TypeVar("T")

Slots = tuple[int, ...]
"""Of each item that counts, the row that holds it."""


class Added(NamedTuple):
    """How a sequence of stored items, which loses items at both ends and gains some at its end, is stored anew."""

    kept: int
    """So many of the items are stored already: the first ones."""
    slot: int
    """Of the row for the items after them, if there are any."""
    slots: Slots
    """Of all items afterwards."""


def added(old: Sequence[T], new: Sequence[T], slots: Slots) -> Added:
    """Items are the same by identity, and one item never comes after two different ones."""
    start = next((at for at, item in enumerate(old) if item is new[0]), len(old)) if new else 0
    kept = min(len(old) - start, len(new))
    while kept and new[kept - 1] is not old[start + kept - 1]:
        kept -= 1
    taken = set(slots)
    slot = next(each for each in count() if each not in taken)
    return Added(kept, slot, slots[start : start + kept] + (slot,) * (len(new) - kept))


def remembered(pool_id: PoolId, row: LiveRow, of_pool: RowsOfPool) -> tuple[tuple[StoredBlock, ...], Slots]:
    """The blocks after the base, and their slots: from the newest back, each row by what the one after it says of it.

    Raises InvariantViolation where a row does not hold what it should.
    """
    blocks: list[StoredBlock] = []
    slots: list[int] = []
    link = row.last
    while link is not None and link.number > row.base_block.number:
        value = of_pool.get(rows.ring_key(pool_id, link.slot))
        ring = rows.decode(rows.decode_ring, value) if value is not None else RingRow(None, ())
        found = [block for block in ring.blocks if block.number <= link.number]
        if not found or not link.fits(found[-1].block) or (blocks and link.number >= blocks[-1].number):
            raise InvariantViolation(f"slot {link.slot} does not hold block {link.number} {link.short_hash}…")
        after_base = [block for block in found if block.number > row.base_block.number]
        blocks += reversed(after_base)
        slots += [link.slot] * len(after_base)
        link = ring.previous
    return tuple(reversed(blocks)), tuple(reversed(slots))
