"""Mnemonics to EVM bytes: as much of an assembler as a program of one screen needs.

A line is `[label:] operation operation … [; comment]`. `PUSH n` takes a number or the `@label` of a jump destination;
a label stands for its JUMPDEST.
"""

from collections.abc import Iterator, Mapping

OPERATIONS: Mapping[str, int] = {
    "ADD": 0x01,
    "MUL": 0x02,
    "SUB": 0x03,
    "EQ": 0x14,
    "ISZERO": 0x15,
    "AND": 0x16,
    "SHL": 0x1B,
    "SHR": 0x1C,
    "KECCAK256": 0x20,
    "CALLDATALOAD": 0x35,
    "CALLDATASIZE": 0x36,
    "CALLDATACOPY": 0x37,
    "RETURNDATASIZE": 0x3D,
    "POP": 0x50,
    "MSTORE": 0x52,
    "SLOAD": 0x54,
    "JUMP": 0x56,
    "JUMPI": 0x57,
    **{f"DUP{n}": 0x7F + n for n in range(1, 17)},
    **{f"SWAP{n}": 0x8F + n for n in range(1, 17)},
    "RETURN": 0xF3,
    "STATICCALL": 0xFA,
}
JUMPDEST = 0x5B
PUSH1 = 0x60
PUSH2 = 0x61


def assemble(source: str) -> bytes:
    """Raises ValueError for what is no operation, and for a label that is missing or there twice."""
    code = bytearray()
    labels: dict[str, int] = {}
    jumps: dict[int, str] = {}
    for word, operand in _words(source):
        if word.endswith(":"):
            if labels.setdefault(word[:-1], len(code)) != len(code):
                raise ValueError(f"label {word} is defined twice")
            code.append(JUMPDEST)
        elif word != "PUSH":
            code.append(_operation(word))
        elif operand.startswith("@"):
            jumps[len(code) + 1] = operand[1:]
            code += bytes((PUSH2, 0, 0))
        else:
            code += bytes((PUSH1, int(operand, 0)))
    for at, label in jumps.items():
        if label not in labels:
            raise ValueError(f"no label {label}")
        code[at : at + 2] = labels[label].to_bytes(2, "big")
    return bytes(code)


def _words(source: str) -> Iterator[tuple[str, str]]:
    """Each word with its operand, empty but for PUSH."""
    for line in source.splitlines():
        words = iter(line.partition(";")[0].split())
        for word in words:
            yield word, next(words) if word == "PUSH" else ""


def _operation(word: str) -> int:
    if word not in OPERATIONS:
        raise ValueError(f"{word} is no operation")
    return OPERATIONS[word]
