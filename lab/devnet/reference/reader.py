"""A pool's true state at one block, read from the contracts, and how a served state differs from it.

It shares no code with what it checks: getters of V2 and V3, `extsload` with slots worked out here for V4. Every read
names the block by its hash, and every word of the tick bitmap is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from eth_abi.abi import encode
from eth_hash.auto import keccak

from lab.devnet.chain.contracts import Pool
from lab.devnet.chain.evm import Rpc, calldata, selector, signed, words

MAX_TICK = 887_272
CALLS_PER_REQUEST = 4_000
SLOTS_PER_CALL = 8_000
GAS_PER_CALL = 10**6


class Truth(msgspec.Struct, frozen=True):
    fields: dict[str, int]
    """By the names that HTTP serves them under."""
    ticks: tuple[tuple[int, int, int], ...] = ()
    """(tick, gross, net), ascending."""


class ReferenceReader:
    def __init__(self, rpc: Rpc, multicall: str) -> None:
        """`multicall` is Uniswap's UniswapInterfaceMulticall, which asks many getters in one call."""
        self._rpc = rpc
        self._multicall = multicall

    def truths(self, pools: Iterable[Pool], block_hash: str) -> dict[str, Truth]:
        return {pool.id: self.truth(pool, block_hash) for pool in pools}

    def truth(self, pool: Pool, block_hash: str) -> Truth:
        if pool.protocol == "v2":
            return self.fields(pool, block_hash)
        bitmap = self._v4_bitmap if pool.protocol == "v4" else self._v3_bitmap
        liquidity_of = self._v4_ticks if pool.protocol == "v4" else self._v3_ticks
        ticks = list(_initialised(bitmap(pool, block_hash), pool.tick_spacing))
        return Truth(self.fields(pool, block_hash).fields, tuple(liquidity_of(pool, ticks, block_hash)))

    def heads(self, pools: Sequence[Pool], block: str) -> dict[str, dict[str, int]]:
        """Every pool's fields without its ticks; `block` is a hash or `latest`."""
        calls = [call for pool in pools for call in _head_calls(pool)]
        answers = iter(self._rpc.batch([("eth_call", [call, _at(block)]) for call in calls]))
        return {pool.id: _head(pool, [words(next(answers)) for _ in _head_calls(pool)]) for pool in pools}

    def fields(self, pool: Pool, block_hash: str) -> Truth:
        """Without ticks."""
        return Truth(self.heads([pool], block_hash)[pool.id])

    def _v3_bitmap(self, pool: Pool, block_hash: str) -> dict[int, int]:
        numbers = _word_numbers(pool.tick_spacing)
        calls = [_call_of("tickBitmap(int16)", number) for number in numbers]
        answers = self._call_many(pool.address, calls, 1, block_hash)
        return {number: answer[0] for number, answer in zip(numbers, answers, strict=True)}

    def _v3_ticks(self, pool: Pool, ticks: list[int], block_hash: str) -> Iterable[tuple[int, int, int]]:
        calls = [_call_of("ticks(int24)", tick) for tick in ticks]
        answers = self._call_many(pool.address, calls, 8, block_hash)
        return ((tick, words_[0], signed(words_[1])) for tick, words_ in zip(ticks, answers, strict=True))

    def _v4_bitmap(self, pool: Pool, block_hash: str) -> dict[int, int]:
        numbers = _word_numbers(pool.tick_spacing)
        slots = [_mapping_slot(number, _v4_base(pool.id) + 5) for number in numbers]
        return dict(zip(numbers, self._load(pool.address, slots, block_hash), strict=True))

    def _v4_ticks(self, pool: Pool, ticks: list[int], block_hash: str) -> Iterable[tuple[int, int, int]]:
        slots = [_mapping_slot(tick, _v4_base(pool.id) + 4) for tick in ticks]
        loaded = self._load(pool.address, slots, block_hash)
        return ((tick, word % 2**128, signed(word >> 128, 128)) for tick, word in zip(ticks, loaded, strict=True))

    def _load(self, manager: str, slots: list[bytes], block_hash: str) -> list[int]:
        loaded: list[int] = []
        for start in range(0, len(slots), SLOTS_PER_CALL):
            data = calldata("extsload(bytes32[])", slots[start : start + SLOTS_PER_CALL])
            loaded += words(self._rpc.call("eth_call", {"to": manager, "data": data}, _at(block_hash)))[2:]
        return loaded

    def _call_many(self, to: str, calls: Sequence[bytes], answer_words: int, block_hash: str) -> list[list[int]]:
        """Getters of one contract, each answering `answer_words` words."""
        answers: list[list[int]] = []
        for start in range(0, len(calls), CALLS_PER_REQUEST):
            some = calls[start : start + CALLS_PER_REQUEST]
            data = multicall_data([(to, call) for call in some])
            request = {"to": self._multicall, "data": data, "gas": hex(900_000_000)}
            answers += multicall_answers(self._rpc.call("eth_call", request, _at(block_hash)), len(some), answer_words)
        return answers


def field_differences(served: Mapping[str, Any], truth: Truth) -> list[str]:
    """A sentence for every field in which `state` of /pools/{id}/ is not the truth."""
    missing = [f"{name} is not served" for name in truth.fields if served.get(name) is None]
    return missing + [
        f"{name} is {served[name]}, the chain says {value}"
        for name, value in truth.fields.items()
        if served.get(name) is not None and int(served[name]) != value
    ]


def tick_differences(served: Sequence[Mapping[str, Any]], truth: Truth) -> list[str]:
    """A sentence for every tick in which `ticks` of /pools/{id}/ticks/ is not the truth."""
    ticks = [(int(each["tick"]), int(each["liquidity_gross"]), int(each["liquidity_net"])) for each in served]
    if len(set(ticks)) != len(ticks) or ticks != sorted(ticks):
        return ["the ticks are not ascending"]
    return [
        f"tick {tick[0]}: gross {tick[1]}, net {tick[2]} is {'served' if tick in ticks else 'missing'}"
        for tick in sorted(set(ticks) ^ set(truth.ticks))
    ]


def _at(block: str) -> Any:
    return {"blockHash": block} if block.startswith("0x") else block


def _head_calls(pool: Pool) -> list[dict[str, str]]:
    if pool.protocol == "v2":
        asked = [calldata("getReserves()")]
    elif pool.protocol == "v3":
        asked = [calldata("slot0()"), calldata("liquidity()")]
    else:
        base = _v4_base(pool.id)
        asked = [calldata("extsload(bytes32)", slot.to_bytes(32, "big")) for slot in (base, base + 3)]
    return [{"to": pool.address, "data": data} for data in asked]


def _head(pool: Pool, answers: list[list[int]]) -> dict[str, int]:
    if pool.protocol == "v2":
        return {"reserve0": answers[0][0], "reserve1": answers[0][1]}
    if pool.protocol == "v3":
        return {"sqrt_price_x96": answers[0][0], "tick": signed(answers[0][1]), "liquidity": answers[1][0]}
    slot0 = answers[0][0]
    return {
        "sqrt_price_x96": slot0 % 2**160,
        "tick": signed(slot0 >> 160, 24),
        "liquidity": answers[1][0] % 2**128,
        "lp_fee": slot0 >> 208 & 0xFFFFFF,
        "protocol_fee": slot0 >> 184 & 0xFFFFFF,
    }


def _word_numbers(tick_spacing: int) -> range:
    least = -(MAX_TICK // tick_spacing)
    return range(least >> 8, (-least >> 8) + 1)


def _initialised(bitmap: Mapping[int, int], tick_spacing: int) -> Iterable[int]:
    for number, word in sorted(bitmap.items()):
        for bit in range(256):
            if word >> bit & 1:
                yield (number * 256 + bit) * tick_spacing


@cache
def _v4_base(pool_id: str) -> int:
    return int.from_bytes(keccak(encode(["bytes32", "uint256"], [bytes.fromhex(pool_id[2:]), 6])), "big")


@cache
def _mapping_slot(key: int, position: int) -> bytes:
    return keccak(key.to_bytes(32, "big", signed=True) + position.to_bytes(32, "big"))


@cache
def _call_of(signature: str, argument: int) -> bytes:
    return selector(signature) + argument.to_bytes(32, "big", signed=True)


def multicall_data(calls: Sequence[tuple[str, bytes]]) -> str:
    """Written by hand: all calls have one length, and eth_abi takes its time over thousands of them."""
    length = len(calls[0][1]) if calls else 0
    padding = b"\0" * (-length % 32)
    size = 4 * 32 + length + len(padding)
    offsets = b"".join(_word(32 * len(calls) + index * size) for index in range(len(calls)))
    tail = _word(GAS_PER_CALL) + _word(96) + _word(length)
    body = b"".join(bytes(12) + bytes.fromhex(to[2:]) + tail + call + padding for to, call in calls)
    return (
        "0x" + (selector("multicall((address,uint256,bytes)[])") + _word(32) + _word(len(calls)) + offsets + body).hex()
    )


def multicall_answers(data: str, calls: int, answer_words: int) -> list[list[int]]:
    """(uint256 blockNumber, (bool success, uint256 gasUsed, bytes returnData)[])"""
    flat = words(data)
    tails = 3 + calls
    size = 4 + answer_words
    answers = [flat[tails + index * size : tails + (index + 1) * size] for index in range(calls)]
    if flat[2] != calls or any(answer[0] != 1 or answer[3] != answer_words * 32 for answer in answers):
        raise ValueError("a getter of the pool did not answer")
    return [answer[4:] for answer in answers]


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
