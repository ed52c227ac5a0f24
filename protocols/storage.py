"""Where pools with ticks keep their state in storage: Solidity's slots, the tick bitmap, and the words of both."""

from collections.abc import Sequence

import msgspec
from eth_hash.auto import keccak

from protocols.ticks import MAX_TICK, Tick
from protocols.types import LARGEST_TICK_SPACING

UINT128_MASK = (1 << 128) - 1
UINT160_MASK = (1 << 160) - 1


class NotAPool(Exception):
    """A contract's answers or storage are not those of such a pool; the message has the difference."""


class Slots(msgspec.Struct, frozen=True):
    price: int
    liquidity: int
    ticks: int
    """Of a mapping from tick to a struct whose first word is gross and net liquidity."""
    bitmap: int
    """Of a mapping from word position to 256 bits."""


class Words(msgspec.Struct, frozen=True):
    """The storage words that make a pool's state."""

    price: int
    after_price: int
    """The word after that of the price: the layouts of forks differ in it."""
    liquidity: int
    ticks: tuple[Tick, ...]


class Located(msgspec.Struct, frozen=True):
    """Where a pool's words are, and its active liquidity as the contract's getter has it."""

    slots: Slots
    liquidity: int


def mapping_slot(key: int, slot: int) -> int:
    """Negative keys are sign-extended to 32 bytes, as Solidity does."""
    return int.from_bytes(keccak(_word(key) + _word(slot)), "big")


def _word(value: int) -> bytes:
    return (value % (1 << 256)).to_bytes(32, "big")


def bitmap_words(tick_spacing: int) -> range:
    """The words of the bitmap that can hold a tick. Raises NotAPool for a spacing that no pool can have."""
    if not 1 <= tick_spacing <= LARGEST_TICK_SPACING:
        raise NotAPool(f"the list says tick spacing {tick_spacing}, and it is 1 to {LARGEST_TICK_SPACING}")
    last = MAX_TICK // tick_spacing
    return range(-last >> 8, (last >> 8) + 1)


def ticks_in(word: int, bits: int, tick_spacing: int) -> Sequence[int]:
    """The initialised ticks of one bitmap word, ascending."""
    return [((word << 8) + bit) * tick_spacing for bit in range(256) if bits >> bit & 1]


def tick_of(tick: int, word: int) -> Tick:
    """From a tick's first word: gross in the low 128 bits, net, signed, in the high ones."""
    net = word >> 128
    return Tick(tick, word & UINT128_MASK, net - (1 << 128) if net >> 127 else net)


def price_fields(words: Words) -> tuple[int, int, int]:
    """sqrt_price_x96, tick and liquidity, which stand alike in V3 and V4. Raises NotAPool."""
    if words.liquidity >> 128:
        raise NotAPool(f"{words.liquidity:#066x} stands where the liquidity should, and it has 128 bits")
    return words.price & UINT160_MASK, _int24(words.price >> 160), words.liquidity


def _int24(value: int) -> int:
    return (value & 0xFFFFFF ^ 0x800000) - 0x800000
