"""What contracts' getters say at one block: many in one call, where the node runs a program of ours."""

import logging
from collections.abc import Sequence

from streams.node.pinned_state import NO_CODE_ADDRESS, CallResult, PinnedState
from streams.snapshots.programs import ASK, Reply, UnexpectedOutput, ask_calldata, ask_output

log = logging.getLogger(__name__)

Question = tuple[str, bytes]
"""A contract's address, and the calldata, of 64 bytes at most."""


async def multicall(pinned: PinnedState, questions: Sequence[Question]) -> list[CallResult]:
    """In order. Raises NodeUnavailable.

    What failed or said too much is asked again by a call of its own: the last one may just have run out of gas.
    """
    answers: dict[int, CallResult] = {}
    if pinned.capabilities.overrides:
        answers = await _together(pinned, questions)
    left = [at for at in range(len(questions)) if at not in answers]
    plain = await pinned.batch([pinned.call(*questions[at]) for at in left])
    answers |= dict(zip(left, plain, strict=True))
    return [answers[at] for at in range(len(questions))]


async def _together(pinned: PinnedState, questions: Sequence[Question]) -> dict[int, CallResult]:
    size = pinned.capabilities.multicall_calls
    chunks = [range(at, min(at + size, len(questions))) for at in range(0, len(questions), size)]
    requests = [
        pinned.call(NO_CODE_ADDRESS, ask_calldata(questions[chunk.start : chunk.stop]), ASK) for chunk in chunks
    ]
    answers: dict[int, CallResult] = {}
    for chunk, said in zip(chunks, await pinned.batch(requests), strict=True):
        replies = _replies(said, len(chunk))
        if isinstance(replies, str):
            pinned.capabilities.multicall_failed(len(chunk))
            log.info("%d questions in one call are too many for the node (%s), trying fewer", len(chunk), replies)
            continue
        pinned.capabilities.multicall_worked()
        for at, reply in zip(chunk, replies, strict=True):
            if reply.success and reply.data is not None:
                answers[at] = "0x" + reply.data.hex()
    return answers


def _replies(said: CallResult, questions: int) -> list[Reply] | str:
    """Or why there are none."""
    if isinstance(said, Exception):
        return str(said)
    try:
        return ask_output(bytes.fromhex(said[2:]), questions)
    except (UnexpectedOutput, ValueError) as error:
        return str(error)
