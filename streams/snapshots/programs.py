"""EVM programs that a node runs in place of a contract's code (`eth_call` with a state override), in its storage.

`READ` walks a range of a pool's tick bitmap and returns the price word, the word after it, the liquidity word, and
35 bytes for every initialised tick: its number (int24), net (int128) and gross (uint128).

Calldata, 32 bytes each:
    00 slot of the price    20 slot of the liquidity    40 slot of the ticks     60 slot of the bitmap
    80 first bitmap word    a0 bitmap word to stop at   c0 tick spacing
    e0 1: all slots but the price's are one further where no bit above the price word's lowest 232 is set (PancakeSwap)
Memory:
    00 bitmap word, 20 slot of the bitmap: hashed to the slot of the word
    40 tick,        60 slot of the ticks:  hashed to the slot of the tick
    80 what is returned
The comments show the stack, its top to the right.
"""

from collections.abc import Sequence

import msgspec

from protocols.storage import Slots, Words, tick_of
from protocols.ticks import Tick
from streams.snapshots.assembler import assemble

READ = assemble("""
        PUSH 0x00 CALLDATALOAD SLOAD                            ; price
        DUP1 PUSH 0x80 MSTORE                                   ; price
        PUSH 0xe8 SHR ISZERO PUSH 0xe0 CALLDATALOAD AND         ; shift
        DUP1 PUSH 0x20 CALLDATALOAD ADD SLOAD PUSH 0xc0 MSTORE  ; shift
        DUP1 PUSH 0x40 CALLDATALOAD ADD PUSH 0x60 MSTORE        ; shift
        PUSH 0x60 CALLDATALOAD ADD PUSH 0x20 MSTORE             ;
        PUSH 0x00 CALLDATALOAD PUSH 0x01 ADD SLOAD              ; after-price
        PUSH 0xa0 MSTORE                                        ;
        PUSH 0xe0 PUSH 0x80 CALLDATALOAD                        ; out word

words:  DUP1 PUSH 0xa0 CALLDATALOAD EQ PUSH @done JUMPI         ; out word
        DUP1 PUSH 0x00 MSTORE                                   ; out word
        PUSH 0x40 PUSH 0x00 KECCAK256 SLOAD                     ; out word bits
        PUSH 0xc0 CALLDATALOAD DUP3 PUSH 0x08 SHL MUL           ; out word bits tick

bits:   DUP2 ISZERO PUSH @next JUMPI                            ; out word bits tick
        DUP2 PUSH 0xff AND PUSH @bit JUMPI                      ; out word bits tick
        PUSH 0xc0 CALLDATALOAD PUSH 0x03 SHL ADD                ; out word bits tick   eight empty places on
        SWAP1 PUSH 0x08 SHR SWAP1 PUSH @bits JUMP               ; out word bits tick

bit:    DUP2 PUSH 0x01 AND ISZERO PUSH @step JUMPI              ; out word bits tick
        DUP1 PUSH 0x40 MSTORE                                   ; out word bits tick
        DUP1 PUSH 0xe8 SHL DUP5 MSTORE                          ; out word bits tick
        PUSH 0x40 DUP1 KECCAK256 SLOAD                          ; out word bits tick liquidity
        DUP5 PUSH 0x03 ADD MSTORE                               ; out word bits tick
        SWAP3 PUSH 0x23 ADD SWAP3                               ; out word bits tick

step:   PUSH 0xc0 CALLDATALOAD ADD                              ; out word bits tick   one place on
        SWAP1 PUSH 0x01 SHR SWAP1 PUSH @bits JUMP               ; out word bits tick

next:   POP POP PUSH 0x01 ADD PUSH @words JUMP                  ; out word
done:   POP PUSH 0x80 SWAP1 SUB PUSH 0x80 RETURN                ;
""")

MULTICALL = assemble("""
        PUSH 0x80 PUSH 0x00                                     ; out in
call:   CALLDATASIZE DUP2 EQ PUSH @done JUMPI                   ; out in
        PUSH 0x40 DUP2 PUSH 0x40 ADD PUSH 0x00 CALLDATACOPY     ; out in
        PUSH 0x60 DUP3 PUSH 0x20 ADD                            ; out in 60 reply
        DUP3 PUSH 0x20 ADD CALLDATALOAD PUSH 0x00               ; out in 60 reply length 00
        DUP5 CALLDATALOAD PUSH 0x07 PUSH 0x10 SHL STATICCALL    ; out in success     with at most 7 << 16 gas
        RETURNDATASIZE DUP1 ADD ADD DUP3 MSTORE                 ; out in             2 * size + success
        PUSH 0x80 ADD SWAP1 PUSH 0x80 ADD SWAP1 PUSH @call JUMP ; out in
done:   POP PUSH 0x80 SWAP1 SUB PUSH 0x80 RETURN                ;
""")
"""Calls many contracts. In, for each: address, length, 64 bytes of calldata. Out: a word, 96 bytes of the reply."""

HEAD_BYTES = 3 * 32
TICK_BYTES = 3 + 32


CALL_BYTES = REPLY_BYTES = 4 * 32
LARGEST_REPLY = 3 * 32


class Reply(msgspec.Struct, frozen=True):
    success: bool
    data: bytes | None
    """None where the contract returned more than there is room for."""


class UnexpectedOutput(Exception):
    """What came back is not what the program returns: the node ran something else."""


def read_calldata(slots: Slots, words: range, tick_spacing: int, has_fork_layout: bool) -> bytes:
    """`has_fork_layout`: the program decides by the price word whether all other slots are one further."""
    arguments = (slots.price, slots.liquidity, slots.ticks, slots.bitmap, words.start, words.stop, tick_spacing)
    return b"".join((value % (1 << 256)).to_bytes(32, "big") for value in (*arguments, int(has_fork_layout)))


def multicall_calldata(calls: Sequence[tuple[str, bytes]]) -> bytes:
    """Address and calldata, of 64 bytes at most."""
    return b"".join(
        int(address, 16).to_bytes(32, "big") + len(data).to_bytes(32, "big") + data.ljust(64, b"\0")
        for address, data in calls
    )


def multicall_output(output: bytes, calls: int) -> list[Reply]:
    """Raises UnexpectedOutput."""
    if len(output) != calls * REPLY_BYTES:
        raise UnexpectedOutput(f"{len(output)} bytes came back for {calls} calls")
    return [_reply(output[at : at + REPLY_BYTES]) for at in range(0, len(output), REPLY_BYTES)]


def _reply(reply: bytes) -> Reply:
    size, success = divmod(int.from_bytes(reply[:32], "big"), 2)
    return Reply(bool(success), reply[32 : 32 + size] if size <= LARGEST_REPLY else None)


def read_output(output: bytes) -> Words:
    """Raises UnexpectedOutput."""
    if len(output) < HEAD_BYTES or (len(output) - HEAD_BYTES) % TICK_BYTES:
        raise UnexpectedOutput(f"{len(output)} bytes came back from the reading program")
    price, after_price, liquidity = (int.from_bytes(output[at : at + 32], "big") for at in range(0, HEAD_BYTES, 32))
    ticks = tuple(_tick(output[at : at + TICK_BYTES]) for at in range(HEAD_BYTES, len(output), TICK_BYTES))
    return Words(price, after_price, liquidity, ticks)


def _tick(record: bytes) -> Tick:
    return tick_of(int.from_bytes(record[:3], "big", signed=True), int.from_bytes(record[3:], "big"))
