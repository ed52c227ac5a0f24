"""The initialised ticks of a pool, kept in parts of one bitmap word each, so that a change rewrites one part only."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec

from protocols.types import Event, Int24, Int128, Uint128

MIN_TICK = -887272
MAX_TICK = 887272
UINT128 = 1 << 128
FEW_STEPS = 64
"""Of the tick spacing: fewer are looked up one by one, and no part is read through."""

_RATIO_FACTORS = (
    0xFFFCB933BD6FAD37AA2D162D1A594001,
    0xFFF97272373D413259A46990580E213A,
    0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0,
    0xFFCB9843D60F6159C9DB58835C926644,
    0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861,
    0xFE5DEE046A99A2A811C461F1969C3053,
    0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54,
    0xF3392B0822B70005940C7A398E4B70F3,
    0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825,
    0xA9F746462D870FDF8A65DC1F90E061E5,
    0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6,
    0x9AA508B5B7A84E1C677DE54F3E99BC9,
    0x5D6AF8DEDB81196699C329225EE604,
    0x2216E584F5FA1EA926041BEDFE98,
    0x48A170391F7DC42444E8FA2,
)


class Tick(msgspec.Struct, frozen=True, array_like=True):
    """One initialised tick; in JSON an array [tick, liquidity_gross, liquidity_net]."""

    tick: Int24
    liquidity_gross: Uint128
    liquidity_net: Int128
    """What is added to the active liquidity when the price crosses the tick upwards."""


class LiquidityChange(Event, frozen=True, tag="liquidity"):
    """A position of `delta` over [tick_lower, tick_upper) comes or goes."""

    tick_lower: Int24
    tick_upper: Int24
    delta: Int128
    """Positive for a mint, negative for a burn, 0 for a poke."""


class InvariantViolation(Exception):
    """A pool's state, or an event that should follow it, is impossible on chain."""


class Liquidity(NamedTuple):
    gross: int
    net: int


class Ticks(msgspec.Struct, frozen=True):
    """Immutable: a change shares every part that it does not touch."""

    spacing: int
    parts: Mapping[int, Mapping[int, Liquidity]]
    """Bitmap word (see `word_of`) to tick to liquidity; no part is empty."""

    def __iter__(self) -> Iterator[Tick]:
        """Ascending."""
        for word in sorted(self.parts):
            part = self.parts[word]
            for tick in sorted(part):
                yield Tick(tick, part[tick].gross, part[tick].net)

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def get(self, tick: int) -> Liquidity | None:
        """None for a tick that is not initialised."""
        return self.parts.get(word_of(tick, self.spacing), _NO_PART).get(tick)


_NO_PART: Mapping[int, Liquidity] = {}
_NO_PARTS: Mapping[int, Mapping[int, Liquidity]] = {}


def word_of(tick: int, spacing: int) -> int:
    return (tick // spacing) >> 8


def from_ticks(spacing: int, ticks: Iterable[Tick]) -> Ticks:
    """Raises InvariantViolation for a tick that is named twice."""
    parts: dict[int, dict[int, Liquidity]] = {}
    for tick, gross, net in ((each.tick, each.liquidity_gross, each.liquidity_net) for each in ticks):
        part = parts.setdefault(word_of(tick, spacing), {})
        if tick in part:
            raise InvariantViolation(f"tick {tick} is named twice")
        part[tick] = Liquidity(gross, net)
    return Ticks(spacing, parts)


def changed(ticks: Ticks, change: LiquidityChange) -> Ticks:
    """Both ends of the position after the change; raises InvariantViolation where the chain could not have made it."""
    lower, upper, delta = change.tick_lower, change.tick_upper, change.delta
    if not MIN_TICK <= lower < upper <= MAX_TICK or lower % ticks.spacing or upper % ticks.spacing:
        raise InvariantViolation(f"[{lower}, {upper}) is no range of a pool with tick spacing {ticks.spacing}")
    if not delta:
        return ticks
    parts = dict(ticks.parts)
    for tick, net in ((lower, delta), (upper, -delta)):
        change_end(parts, word_of(tick, ticks.spacing), tick, delta, net)
    return Ticks(ticks.spacing, parts)


def change_end(parts: dict[int, Mapping[int, Liquidity]], word: int, tick: int, gross: int, net: int) -> None:
    """One end of a position, in a dict of parts that is the caller's own."""
    part = dict(parts.get(word, {}))
    old = part.pop(tick, Liquidity(0, 0))
    new = Liquidity(old.gross + gross, old.net + net)
    if not abs(new.net) <= new.gross < UINT128:
        raise InvariantViolation(f"tick {tick} cannot go from {old} by {gross} to {new}")
    if new.gross:
        part[tick] = new
    if part:
        parts[word] = part
    else:
        parts.pop(word, None)


def differing(old: Ticks | None, new: Ticks | None) -> list[int]:
    """The ticks that are not as they were, ascending; fast where one comes of the other. None: without ticks."""
    if old is new:
        return []
    before, after = old.parts if old else _NO_PARTS, new.parts if new else _NO_PARTS
    found: list[int] = []
    for word in before.keys() | after.keys():
        was, now = before.get(word, _NO_PART), after.get(word, _NO_PART)
        if was is not now:
            found += (tick for tick, each in now.items() if (held := was.get(tick)) is not each and held != each)
            found += (tick for tick in was if tick not in now)
    return sorted(found)


def net_up_to(ticks: Ticks, tick: int) -> int:
    """The sum of liquidity_net over the ticks at or below `tick`: the active liquidity there."""
    last = word_of(tick, ticks.spacing)
    total = 0
    for word, part in ticks.parts.items():
        if word < last:
            total += sum(liquidity.net for liquidity in part.values())
        elif word == last:
            total += sum(liquidity.net for at, liquidity in part.items() if at <= tick)
    return total


def net_between(ticks: Ticks, low: int, high: int) -> int:
    """The sum of liquidity_net over low < tick <= high: what a price that rises from low to high takes up."""
    first, last = low // ticks.spacing + 1, high // ticks.spacing
    if last - first >= FEW_STEPS:
        near = (part for word, part in ticks.parts.items() if first >> 8 <= word <= last >> 8)
        return sum(liquidity.net for part in near for at, liquidity in part.items() if low < at <= high)
    total = 0
    for step in range(first, last + 1):
        part = ticks.parts.get(step >> 8)
        if part and (liquidity := part.get(step * ticks.spacing)):
            total += liquidity.net
    return total


@lru_cache(maxsize=1 << 16)
def sqrt_ratio_at_tick(tick: int) -> int:
    """sqrt(1.0001^tick) as Q64.96, rounded as Uniswap's TickMath.getSqrtRatioAtTick rounds it."""
    if not MIN_TICK <= tick <= MAX_TICK:
        raise InvariantViolation(f"tick {tick} is out of range")
    ratio = 1 << 128
    for bit, factor in enumerate(_RATIO_FACTORS):
        if abs(tick) >> bit & 1:
            ratio = ratio * factor >> 128
    if tick > 0:
        ratio = ((1 << 256) - 1) // ratio
    return -(-ratio >> 32)


def check_fits(tick: int, sqrt_price_x96: int) -> None:
    """The upper end belongs to the tick too: a boundary crossed downwards leaves slot0.tick one below it."""
    if not sqrt_ratio_at_tick(tick) <= sqrt_price_x96 or (
        tick < MAX_TICK and sqrt_price_x96 > sqrt_ratio_at_tick(tick + 1)
    ):
        raise InvariantViolation(f"price {sqrt_price_x96} is not of tick {tick}")
