"""Calls many contracts' getters at one block in one eth_call, where the node supports state overrides."""

import logging
from collections.abc import Sequence

from streams.node.state.pinned_state import NO_CODE_ADDRESS, CallResult, PinnedState
from streams.snapshots.programs import MULTICALL, Reply, UnexpectedOutput, multicall_calldata, multicall_output

log = logging.getLogger(__name__)

ContractCall = tuple[str, bytes]
"""A contract's address, and the calldata, of 64 bytes at most."""


async def multicall(pinned: PinnedState, calls: Sequence[ContractCall]) -> list[CallResult]:
    """In order. Raises NodeUnavailable.

    A call that failed or returned too much is repeated alone: it may just have run out of gas.
    """
    answers: dict[int, CallResult] = {}
    if pinned.capabilities.overrides:
        answers = await _in_one_call(pinned, calls)
    left = [at for at in range(len(calls)) if at not in answers]
    plain = await pinned.batch([pinned.call(*calls[at]) for at in left])
    answers |= dict(zip(left, plain, strict=True))
    return [answers[at] for at in range(len(calls))]


async def _in_one_call(pinned: PinnedState, calls: Sequence[ContractCall]) -> dict[int, CallResult]:
    size = pinned.capabilities.multicall_calls
    chunks = [range(at, min(at + size, len(calls))) for at in range(0, len(calls), size)]
    requests = [
        pinned.call(NO_CODE_ADDRESS, multicall_calldata(calls[chunk.start : chunk.stop]), MULTICALL) for chunk in chunks
    ]
    answers: dict[int, CallResult] = {}
    for chunk, result in zip(chunks, await pinned.batch(requests), strict=True):
        replies = _replies(result, len(chunk))
        if isinstance(replies, str):
            pinned.capabilities.multicall_failed(len(chunk))
            log.info("%d calls in one call are too many for the node (%s), trying fewer", len(chunk), replies)
            continue
        pinned.capabilities.multicall_worked()
        for at, reply in zip(chunk, replies, strict=True):
            if reply.success and reply.data is not None:
                answers[at] = "0x" + reply.data.hex()
    return answers


def _replies(result: CallResult, calls: int) -> list[Reply] | str:
    """Or why there are none."""
    if isinstance(result, Exception):
        return str(result)
    try:
        return multicall_output(bytes.fromhex(result[2:]), calls)
    except (UnexpectedOutput, ValueError) as error:
        return str(error)
