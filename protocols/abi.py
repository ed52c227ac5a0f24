"""Logs by their Solidity declaration: topic0, which arguments are indexed, and their exact values."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from eth_hash.auto import keccak

from protocols.types import Log

WORD_BYTES = 32
_DECLARATION = re.compile(r"event (\w+)\((.*)\)")


class AbiMismatch(Exception):
    """A log's topics or data are not what the event's declaration says."""


class Argument(NamedTuple):
    name: str
    type: str
    indexed: bool


class Declaration(NamedTuple):
    topic0: bytes
    name: str
    arguments: tuple[Argument, ...]


def declaration(text: str) -> Declaration:
    """From the event as it stands in the contract; all its types are of one word."""
    match = _DECLARATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} declares no event")
    arguments = tuple(_argument(part.split()) for part in match[2].split(","))
    signature = f"{match[1]}({','.join(argument.type for argument in arguments)})"
    return Declaration(keccak(signature.encode()), match[1], arguments)


def _argument(words: list[str]) -> Argument:
    return Argument(words[-1], words[0], "indexed" in words)


def decode_arguments(declared: Declaration, log: Log) -> Mapping[str, int]:
    """Raises AbiMismatch for a missing or surplus topic or byte, and for a value that its type cannot hold."""
    indexed = sum(argument.indexed for argument in declared.arguments)
    data_bytes = (len(declared.arguments) - indexed) * WORD_BYTES
    if len(log.topics) != indexed + 1 or any(len(topic) != WORD_BYTES for topic in log.topics):
        raise AbiMismatch(f"{len(log.topics)} topics instead of {indexed + 1} of {WORD_BYTES} bytes")
    if len(log.data) != data_bytes:
        raise AbiMismatch(f"{len(log.data)} bytes of data instead of {data_bytes}")
    topics = iter(log.topics[1:])
    words = (log.data[at : at + WORD_BYTES] for at in range(0, data_bytes, WORD_BYTES))
    return {
        argument.name: _value(argument, next(topics if argument.indexed else words)) for argument in declared.arguments
    }


def _value(argument: Argument, word: bytes) -> int:
    signed = argument.type.startswith("int")
    value = int.from_bytes(word, "big", signed=signed)
    bits = _bits(argument.type)
    if not (-(1 << bits - 1) <= value < 1 << bits - 1 if signed else value < 1 << bits):
        raise AbiMismatch(f"{argument.name} is {value}, no {argument.type}")
    return value


def _bits(type_name: str) -> int:
    if type_name == "address":
        return 160
    if type_name == "bytes32":
        return 256
    return int(type_name.removeprefix("u").removeprefix("int"))
