"""A world's chain as messages of the seed wire: in bytes, as alloy writes them, or in hex, as ethers does."""

from collections.abc import Iterator

from lab.fuzz.chain_model import World
from protocols.concentrated import Swap
from protocols.ticks import LiquidityChange
from streams.kafka.records import Head


def seed_frames(world: World) -> Iterator[bytes]:
    """Blocks and reorgs as the chain had them; only what happens to V3 pools is said."""
    write = world.random.choice((_raw, _hex))
    path: list[str] = []
    for head in (record for record in world.chain if isinstance(record, Head)):
        while path and path[-1] != head.block.parent:
            gone = world.nodes[path.pop()]
            yield (3).to_bytes(4, "little") + gone.block.number.to_bytes(8, "little") + _sized(bytes(32))
        path.append(head.block.hash)
        for pool, events in world.nodes[head.block.hash].events.items():
            yield from (
                write(pool, head.block.number, event) for event in events if isinstance(event, Swap | LiquidityChange)
            )


def _raw(pool: str, number: int, event: Swap | LiquidityChange) -> bytes:
    start = _sized(bytes.fromhex(pool[2:])[-20:]) + number.to_bytes(8, "little")
    return _seed_event(start, event, _sized(event.sqrt_price_x96.to_bytes(32)) if isinstance(event, Swap) else b"")


def _hex(pool: str, number: int, event: Swap | LiquidityChange) -> bytes:
    start = _sized(("0x" + pool[-40:]).encode()) + number.to_bytes(8, "little")
    return _seed_event(start, event, _sized(hex(event.sqrt_price_x96).encode()) if isinstance(event, Swap) else b"")


def _seed_event(start: bytes, event: Swap | LiquidityChange, price: bytes) -> bytes:
    if isinstance(event, Swap):
        rest = event.tick.to_bytes(4, "little", signed=True) + event.liquidity.to_bytes(16, "little")
        return (2).to_bytes(4, "little") + start + price + rest
    ticks = (event.tick_lower, event.tick_upper)
    rest = b"".join(tick.to_bytes(4, "little", signed=True) for tick in ticks) + abs(event.delta).to_bytes(16, "little")
    return (0 if event.delta > 0 else 1).to_bytes(4, "little") + start + rest


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data
