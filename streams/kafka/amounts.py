"""The integers that a contract can hold in each field of an event or a state; a record with another is refused."""

from collections.abc import Iterable, Mapping

import msgspec


def uint(bits: int) -> range:
    return range(1 << bits)


def signed(bits: int) -> range:
    return range(-(1 << bits - 1), 1 << bits - 1)


BOUNDS: Mapping[str, range] = {
    "reserve0": uint(112),
    "reserve1": uint(112),
    "sqrt_price_x96": uint(160),
    "tick": signed(24),
    "tick_lower": signed(24),
    "tick_upper": signed(24),
    "liquidity": uint(128),
    "liquidity_gross": uint(128),
    "liquidity_net": signed(128),
    "delta": signed(128),
    "lp_fee": uint(24),
    "protocol_fee": uint(24),
}
"""By the field's name, as the contracts of all protocols declare it."""


class AmountOutOfBounds(Exception):
    def __init__(self, field: str, value: int, bounds: range) -> None:
        super().__init__(f"{field} is {value:#x}, and it is {bounds.start:#x} to {bounds.stop - 1:#x}")


def check_amounts(structs: Iterable[msgspec.Struct]) -> None:
    """Raises AmountOutOfBounds for the first field that no contract can hold; fields without a bound pass."""
    for struct in structs:
        for field in struct.__struct_fields__:
            bounds = BOUNDS.get(field)
            if bounds is not None and (value := getattr(struct, field)) not in bounds:
                raise AmountOutOfBounds(field, value, bounds)
