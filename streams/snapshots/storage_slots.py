"""Reads pools slot by slot, for nodes that run no program of ours: the bitmap first, then each initialised tick."""

from collections.abc import Sequence

from protocols.storage import NotAPool, Slots, Words, mapping_slot, tick_of, ticks_in, v3_slots
from protocols.types import PoolId
from streams.node.pinned_state import Call, CallResult, PinnedState
from streams.snapshots.contract_checks import ReadFailed, Target, integers

EXTSLOAD_MANY = bytes.fromhex("dbd035ff")
SLOTS_PER_CALL = 500


class SlotUnread(Exception):
    """The node did not tell a slot."""


async def read_slots(pinned: PinnedState, targets: Sequence[Target]) -> dict[PoolId, Words | ReadFailed]:
    """A layout that is no pool's is left to whoever makes a state of the words."""
    return {target.pool.id: await _read(pinned, target) for target in targets}


async def _read(pinned: PinnedState, target: Target) -> Words | ReadFailed:
    try:
        price, after_price = await _load(pinned, target, [target.slots.price, target.slots.price + 1])
        slots = _slots(target, price, after_price)
        if slots is None:
            return Words(price, after_price, 0, ())
        liquidity, *bitmap = await _load(
            pinned, target, [slots.liquidity, *(mapping_slot(word, slots.bitmap) for word in target.words)]
        )
        ticks = [
            tick
            for word, bits in zip(target.words, bitmap, strict=True)
            for tick in ticks_in(word, bits, target.tick_spacing)
        ]
        words = await _load(pinned, target, [mapping_slot(tick, slots.ticks) for tick in ticks])
    except SlotUnread as error:
        return ReadFailed(str(error))
    return Words(price, after_price, liquidity, tuple(map(tick_of, ticks, words)))


def _slots(target: Target, price: int, after_price: int) -> Slots | None:
    if target.pool.protocol == "v4":
        return target.slots
    try:
        return v3_slots(price, after_price)
    except NotAPool:
        return None


async def _load(pinned: PinnedState, target: Target, slots: Sequence[int]) -> list[int]:
    if target.pool.protocol != "v4":
        answers = await pinned.batch([pinned.storage(target.address, slot) for slot in slots])
        return [_word(target, answer) for answer in answers]
    chunks = [slots[at : at + SLOTS_PER_CALL] for at in range(0, len(slots), SLOTS_PER_CALL)]
    answers = await pinned.batch([_extsload(pinned, target.address, chunk) for chunk in chunks])
    return [word for chunk, answer in zip(chunks, answers, strict=True) for word in _array(target, answer, len(chunk))]


def _extsload(pinned: PinnedState, manager: str, slots: Sequence[int]) -> Call:
    words = b"".join(word.to_bytes(32, "big") for word in (32, len(slots), *slots))
    return pinned.call(manager, EXTSLOAD_MANY + words)


def _word(target: Target, answer: CallResult) -> int:
    if isinstance(answer, Exception):
        raise SlotUnread(f"{target.address} was asked for its storage: {answer}") from answer
    try:
        return int(answer, 16)
    except ValueError as error:
        raise SlotUnread(f"{target.address} was asked for its storage: {answer[:80]!r}") from error


def _array(target: Target, answer: CallResult, length: int) -> list[int]:
    """An ABI-encoded bytes32[]: offset, length, words."""
    if isinstance(answer, Exception):
        raise SlotUnread(f"{target.address} was asked for extsload(bytes32[]): {answer}") from answer
    words = integers(answer)
    if words[:2] != [32, length] or len(words) != length + 2:
        raise SlotUnread(f"{target.address} gave {len(words)} words where extsload(bytes32[]) gives {length + 2}")
    return words[2:]
