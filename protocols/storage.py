"""Where a V3 or V4 pool keeps its state in storage, and what the words say."""

from collections.abc import Sequence

import msgspec
from eth_hash.auto import keccak

from protocols.states import State, Tick, V3State, V4State
from protocols.ticks import MAX_TICK
from protocols.types import LARGEST_TICK_SPACING, PoolId, ProtocolName

V4_POOLS_SLOT = 6
UINT128_MASK = (1 << 128) - 1
V3_FEE_BITS = 232
"""From here up slot 0 of Uniswap V3 holds feeProtocol and `unlocked`; PancakeSwap's 32 fee bits begin the next slot."""


class NotAPool(Exception):
    """What stands in storage is no pool's."""


class Slots(msgspec.Struct, frozen=True):
    price: int
    liquidity: int
    ticks: int
    bitmap: int


class Words(msgspec.Struct, frozen=True):
    """The storage words that make a pool's state."""

    price: int
    after_price: int
    """The word after that of the price: it tells the layouts of V3 apart."""
    liquidity: int
    ticks: tuple[Tick, ...]


V3_UNISWAP = Slots(price=0, liquidity=4, ticks=5, bitmap=6)
V3_PANCAKE = Slots(price=0, liquidity=5, ticks=6, bitmap=7)


def v4_slots(pool: PoolId) -> Slots:
    base = mapping_slot(int(pool, 16), V4_POOLS_SLOT)
    return Slots(price=base, liquidity=base + 3, ticks=base + 4, bitmap=base + 5)


def v3_slots(price_word: int, next_word: int) -> Slots:
    """The layout by the place of `unlocked`, which is 1 in any initialised pool between two transactions.

    Raises NotAPool where it is in neither place. An uninitialised pool has nothing to find in either layout.
    """
    if price_word >> V3_FEE_BITS + 8 == 1 or not price_word | next_word:
        return V3_UNISWAP
    if not price_word >> V3_FEE_BITS and next_word >> 32 == 1:
        return V3_PANCAKE
    raise NotAPool(f"slots 0 and 1 hold {price_word:#066x} and {next_word:#066x}, no layout of a V3 pool that is known")


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
    net = word >> 128
    return Tick(tick, word & UINT128_MASK, net - (1 << 128) if net >> 127 else net)


def state_of(protocol: ProtocolName, words: Words) -> State:
    """Raises NotAPool for words that no pool can have."""
    if words.liquidity >> 128:
        raise NotAPool(f"{words.liquidity:#066x} stands where the liquidity should, and it has 128 bits")
    sqrt_price_x96 = words.price & ((1 << 160) - 1)
    tick = _int24(words.price >> 160)
    if protocol == "v3":
        v3_slots(words.price, words.after_price)
        return V3State(sqrt_price_x96, tick, words.liquidity, words.ticks)
    if words.price >> 232:
        raise NotAPool(f"the pool's first word is {words.price:#066x}, and only 232 bits of it are used")
    protocol_fee, lp_fee = words.price >> 184 & 0xFFFFFF, words.price >> 208 & 0xFFFFFF
    return V4State(sqrt_price_x96, tick, words.liquidity, words.ticks, lp_fee, protocol_fee)


def _int24(value: int) -> int:
    return (value & 0xFFFFFF ^ 0x800000) - 0x800000
