"""Runs the reading program over the bitmaps of many pools, in ranges as wide as the node's limits allow."""

import logging
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from protocols.registry import dex_of
from protocols.storage import Words
from protocols.types import PoolId
from streams.node.state.pinned_state import BlockGone, Call, CallResult, PinnedState
from streams.snapshots.contract_checks import PoolStorage, ReadFailed
from streams.snapshots.programs import READ, UnexpectedOutput, read_calldata, read_output

log = logging.getLogger(__name__)


class Part(msgspec.Struct, frozen=True):
    storage: PoolStorage
    words: range


async def read_tick_bitmaps(pinned: PinnedState, storages: Sequence[PoolStorage]) -> dict[PoolId, Words | ReadFailed]:
    """Raises BlockGone where nothing of the block's state can be read any more."""
    read: dict[PoolId, list[tuple[range, Words]]] = {storage.pool.id: [] for storage in storages}
    failed: dict[PoolId, ReadFailed] = {}
    waiting = [part for storage in storages for part in _cut(storage, pinned.capabilities.words_per_call)]
    while waiting:
        answers = await pinned.batch([_request(pinned, part) for part in waiting])
        refused: list[tuple[Part, str]] = []
        for part, answer in zip(waiting, answers, strict=True):
            words = _output(answer)
            if isinstance(words, Words):
                read[part.storage.pool.id].append((part.words, words))
                pinned.capabilities.words_worked(len(part.words))
            else:
                refused.append((part, words))
        if refused:
            await pinned.check_state()
        waiting = [half for part, reason in refused for half in _split(pinned, part, reason, failed)]
    return {pool: failed.get(pool) or _merge(pool, parts) for pool, parts in read.items()}


def _cut(storage: PoolStorage, most: int) -> list[Part]:
    words = storage.words
    return [Part(storage, words[at : at + most]) for at in range(0, max(1, len(words)), most)]


def _request(pinned: PinnedState, part: Part) -> Call:
    storage = part.storage
    has_fork_layout = dex_of(storage.pool.protocol).reads.has_fork_layout
    calldata = read_calldata(storage.slots, part.words, storage.tick_spacing, has_fork_layout)
    return pinned.call(storage.address, calldata, READ)


def _output(answer: CallResult) -> Words | str:
    """What was read, or why not."""
    if isinstance(answer, Exception):
        return str(answer)
    try:
        return read_output(bytes.fromhex(answer[2:]))
    except (UnexpectedOutput, ValueError) as error:
        return str(error)


def _split(pinned: PinnedState, part: Part, reason: str, failed: dict[PoolId, ReadFailed]) -> list[Part]:
    pool, count = part.storage.pool.id, len(part.words)
    if count <= 1:
        what = f"bitmap word {part.words.start}" if count else "price and liquidity"
        failed[pool] = ReadFailed(f"{what} of {pool}: {reason}")
    if pool in failed:
        return []
    pinned.capabilities.words_failed(count)
    log.debug("%d bitmap words of %s in one call are too much for the node (%s), halving", count, pool, reason)
    return [Part(part.storage, part.words[: count // 2]), Part(part.storage, part.words[count // 2 :])]


def _merge(pool: PoolId, parts: list[tuple[range, Words]]) -> Words:
    parts.sort(key=lambda part: part[0].start)
    for (_, before), (_, after) in pairwise(parts):
        if (before.price, before.after_price, before.liquidity) != (after.price, after.after_price, after.liquidity):
            raise BlockGone(f"{pool} changed while it was read")
    first = parts[0][1]
    ticks = tuple(tick for _, words in parts for tick in words.ticks)
    return Words(first.price, first.after_price, first.liquidity, ticks)
