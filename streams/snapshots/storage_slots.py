"""Reads pools slot by slot, for nodes that run no program of ours: the bitmap first, then each initialised tick."""

from collections.abc import Sequence

from protocols.abi import WORD_BYTES, FunctionAbi, call_data
from protocols.registry import dex_of
from protocols.storage import NotAPool, Slots, Words, mapping_slot, tick_of, ticks_in
from protocols.types import PoolId
from streams.node.state.pinned_state import Call, CallResult, PinnedState
from streams.snapshots.contract_checks import PoolStorage, ReadFailed

SLOTS_PER_CALL = 500


class SlotReadFailed(Exception):
    """The node did not answer for a slot."""


async def read_slots(pinned: PinnedState, storages: Sequence[PoolStorage]) -> dict[PoolId, Words | ReadFailed]:
    """Words of an unknown layout are returned without ticks; the caller's conversion to a state rejects them."""
    return {storage.pool.id: await _read(pinned, storage) for storage in storages}


async def _read(pinned: PinnedState, storage: PoolStorage) -> Words | ReadFailed:
    try:
        price, after_price = await _load(pinned, storage, [storage.slots.price, storage.slots.price + 1])
        slots = _slots(storage, price, after_price)
        if slots is None:
            return Words(price, after_price, 0, ())
        liquidity, *bitmap = await _load(
            pinned, storage, [slots.liquidity, *(mapping_slot(word, slots.bitmap) for word in storage.words)]
        )
        ticks = [
            tick
            for word, bits in zip(storage.words, bitmap, strict=True)
            for tick in ticks_in(word, bits, storage.tick_spacing)
        ]
        words = await _load(pinned, storage, [mapping_slot(tick, slots.ticks) for tick in ticks])
    except SlotReadFailed as error:
        return ReadFailed(str(error))
    return Words(price, after_price, liquidity, tuple(map(tick_of, ticks, words)))


def _slots(storage: PoolStorage, price: int, after_price: int) -> Slots | None:
    try:
        return dex_of(storage.pool.protocol).reads.slots(storage.slots, price, after_price)
    except NotAPool:
        return None


async def _load(pinned: PinnedState, storage: PoolStorage, slots: Sequence[int]) -> list[int]:
    getter = dex_of(storage.pool.protocol).reads.slots_getter
    if getter is None:
        answers = await pinned.batch([pinned.storage(storage.address, slot) for slot in slots])
        return [_word(storage, answer) for answer in answers]
    chunks = [slots[at : at + SLOTS_PER_CALL] for at in range(0, len(slots), SLOTS_PER_CALL)]
    answers = await pinned.batch([_slots_call(pinned, storage.address, getter, chunk) for chunk in chunks])
    return [
        word
        for chunk, answer in zip(chunks, answers, strict=True)
        for word in _array(storage, getter, answer, len(chunk))
    ]


def _slots_call(pinned: PinnedState, address: str, getter: FunctionAbi, slots: Sequence[int]) -> Call:
    """The argument is a bytes32[]: its offset, its length, its words."""
    return pinned.call(address, call_data(getter, (WORD_BYTES, len(slots), *slots)))


def _word(storage: PoolStorage, answer: CallResult) -> int:
    if isinstance(answer, Exception):
        raise SlotReadFailed(f"the storage of {storage.address} cannot be read: {answer}") from answer
    try:
        return int(answer, 16)
    except ValueError as error:
        raise SlotReadFailed(f"the storage of {storage.address} cannot be read: {answer[:80]!r}") from error


def _array(storage: PoolStorage, getter: FunctionAbi, answer: CallResult, length: int) -> list[int]:
    """An ABI-encoded bytes32[]: offset, length, words."""
    asked = f"{storage.address} was asked for {getter.signature}"
    if isinstance(answer, Exception):
        raise SlotReadFailed(f"{asked}: {answer}") from answer
    try:
        data = bytes.fromhex(answer[2:])
    except ValueError as error:
        raise SlotReadFailed(f"{asked}: {answer[:80]!r}") from error
    words = [int.from_bytes(data[at : at + WORD_BYTES], "big") for at in range(0, len(data), WORD_BYTES)]
    if words[:2] != [WORD_BYTES, length] or len(data) != (length + 2) * WORD_BYTES:
        raise SlotReadFailed(f"{asked} and gave {len(data)} bytes instead of {(length + 2) * WORD_BYTES}")
    return words[2:]
