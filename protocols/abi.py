"""Contract ABIs: topics, selectors, and the exact integers in logs and answers whose types take one word each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from eth_typing import ABIComponent, ABIEvent, ABIFunction
from eth_utils.abi import abi_to_signature, event_abi_to_log_topic, function_abi_to_4byte_selector

from protocols.types import Log

WORD_BYTES = 32


class AbiMismatch(Exception):
    """A log's topics or data, or a contract's answer, do not fit the ABI."""


class Value(NamedTuple):
    """One word of a log or of an answer."""

    name: str
    type: str
    signed: bool
    minimum: int
    maximum: int


class EventAbi(NamedTuple):
    name: str
    topic0: bytes
    indexed: tuple[Value, ...]
    """From topic1 on."""
    data: tuple[Value, ...]


class FunctionAbi(NamedTuple):
    signature: str
    """`name(types)`, as in error messages."""
    selector: bytes
    outputs: tuple[Value, ...]


def event_abi(abi: ABIEvent) -> EventAbi:
    """All of its inputs are of types that take one word."""
    inputs = abi.get("inputs", ())
    return EventAbi(
        name=abi["name"],
        topic0=bytes(event_abi_to_log_topic(abi)),
        indexed=_values(each for each in inputs if each["indexed"]),
        data=_values(each for each in inputs if not each["indexed"]),
    )


def function_abi(abi: ABIFunction) -> FunctionAbi:
    """All of its outputs are of types that take one word."""
    return FunctionAbi(
        abi_to_signature(abi), bytes(function_abi_to_4byte_selector(abi)), _values(abi.get("outputs", ()))
    )


def decode_arguments(event: EventAbi, log: Log) -> Mapping[str, int]:
    """Raises AbiMismatch for a missing or surplus topic or byte, and for a value that its type cannot hold."""
    topics, data = log.topics, log.data
    if len(topics) != len(event.indexed) + 1 or any(len(topic) != WORD_BYTES for topic in topics):
        raise AbiMismatch(f"{len(topics)} topics instead of {len(event.indexed) + 1} of {WORD_BYTES} bytes")
    if len(data) != len(event.data) * WORD_BYTES:
        raise AbiMismatch(f"{len(data)} bytes of data instead of {len(event.data) * WORD_BYTES}")
    arguments = {value.name: _decode(value, topic) for value, topic in zip(event.indexed, topics[1:], strict=True)}
    at = 0
    for value in event.data:
        arguments[value.name] = _decode(value, data[at : at + WORD_BYTES])
        at += WORD_BYTES
    return arguments


def decode_outputs(function: FunctionAbi, answer: bytes) -> list[int]:
    """In the ABI's order. Raises AbiMismatch for another length, and for a value that its type cannot hold."""
    if len(answer) != len(function.outputs) * WORD_BYTES:
        raise AbiMismatch(f"{len(answer)} bytes instead of {len(function.outputs) * WORD_BYTES}")
    return [
        _decode(value, answer[at * WORD_BYTES : (at + 1) * WORD_BYTES]) for at, value in enumerate(function.outputs)
    ]


def int128(name: str, number: int) -> int:
    """Raises AbiMismatch for a number of a wider type that an int128 cannot hold."""
    if not -(1 << 127) <= number < 1 << 127:
        raise AbiMismatch(f"{name} is {number}, not an int128")
    return number


def _decode(value: Value, word: bytes) -> int:
    name, type_name, signed, minimum, maximum = value
    number = int.from_bytes(word, "big", signed=signed)
    if not minimum <= number <= maximum:
        raise AbiMismatch(f"{name or 'an output'} is {number}, not a {type_name}")
    return number


def _values(components: Iterable[ABIComponent]) -> tuple[Value, ...]:
    return tuple(_value(component.get("name", ""), component["type"]) for component in components)


def _value(name: str, type_name: str) -> Value:
    bits = {"address": 160, "bytes32": 256, "bool": 1}.get(type_name) or int(
        type_name.removeprefix("u").removeprefix("int")
    )
    if type_name.startswith("int"):
        return Value(name, type_name, True, -(1 << bits - 1), (1 << bits - 1) - 1)
    return Value(name, type_name, False, 0, (1 << bits) - 1)


def call_data(function: FunctionAbi, arguments: Sequence[int] = ()) -> bytes:
    """The calldata of a call whose arguments take one word each."""
    return function.selector + b"".join(argument.to_bytes(WORD_BYTES, "big") for argument in arguments)
