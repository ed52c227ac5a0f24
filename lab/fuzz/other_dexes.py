"""What a feed sends of DEXes that are not followed: any protocol, any tag, updates of any length."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple

import msgspec

from streams.exex import control_layouts as layouts
from streams.exex.control import PREFIX
from streams.exex.control_encoder import encode
from streams.exex.control_messages import BeginBlock, EndBlock, ReorgComplete
from streams.feed.blocks import FeedMessage

LARGEST_U64 = 2**64 - 1
MOST_BYTES = 200
"""Of an update, after what all updates begin with."""


class OtherUpdate(NamedTuple):
    protocol: int
    tag: int
    begin: BeginBlock
    """Of its block."""
    place: int


class OtherFinal(NamedTuple):
    """Of Fluid where the protocol is None, else a Slot0Final."""

    protocol: int | None
    tip: int


Sendable = FeedMessage | OtherUpdate | OtherFinal


def among(random: Random, messages: Iterable[FeedMessage]) -> Iterator[Sendable]:
    """The messages of a step with updates of other DEXes before, between and after its own, and their finals."""
    share = random.choice((0.0, 0.0, 0.3, 0.8))
    begin, others = None, 0
    for message in messages:
        if isinstance(message, BeginBlock):
            yield message
            begin, others = message, 0
            continue
        while begin is not None and random.random() < share:
            yield OtherUpdate(*_kind(random), begin, others)
            others += 1
        while isinstance(message, ReorgComplete) and random.random() < share:
            protocol = random.choice((None, *layouts.OTHER_DEX_PROTOCOLS))
            yield OtherFinal(protocol, message.final_tip_block)
        if isinstance(message, EndBlock):
            begin = None
            yield msgspec.structs.replace(message, num_updates=min(message.num_updates + others, LARGEST_U64))
        else:
            yield message


def frame(random: Random, message: Sendable, stream_seq: int) -> bytes:
    match message:
        case OtherUpdate():
            payload = _update(random, message, stream_seq)
        case OtherFinal():
            payload = _final(random, message, stream_seq)
        case _:
            return encode(msgspec.structs.replace(message, stream_seq=stream_seq))
    return len(payload).to_bytes(PREFIX, "little") + payload


def _kind(random: Random) -> tuple[int, int]:
    return random.choice(layouts.OTHER_DEX_PROTOCOLS), random.choice(layouts.OTHER_DEX_UPDATES)


def _update(random: Random, update: OtherUpdate, stream_seq: int) -> bytes:
    begin = update.begin
    layout, size = random.choice(((layouts.UPDATE_OF_ADDRESS, 20), (layouts.UPDATE_OF_POOL_ID, 32)))
    place = begin.block_number, begin.block_timestamp, random.choice((0, update.place)), update.place, begin.is_revert
    start = layout.write(stream_seq, _hex(random, size), update.protocol, random.randrange(3), *place, update.tag)
    return start + random.randbytes(random.randrange(MOST_BYTES))


def _final(random: Random, final: OtherFinal, stream_seq: int) -> bytes:
    start = stream_seq, final.tip, random.choice((0, 1_700_000_000))
    if final.protocol is None:
        return layouts.FLUID_FINAL.write(*start, _hex(random, 20), *(random.getrandbits(128) for _ in range(10)))
    layout, size = random.choice(tuple(zip(layouts.SLOT0_FINAL_OF_ANY, (20, 32), strict=True)))
    tick = random.randint(-88_722_835, 88_722_835)
    price = random.getrandbits(256), random.getrandbits(128), tick
    return layout.write(*start, _hex(random, size), final.protocol, *price)


def _hex(random: Random, size: int) -> str:
    return "0x" + random.randbytes(size).hex()
