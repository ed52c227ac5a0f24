"""The events that create pools: PairCreated, PoolCreated, and Initialize of a V4 PoolManager. PURE."""

from collections.abc import Mapping

import msgspec

from protocols import v4
from protocols.abi import Declaration, declaration, decode_arguments
from protocols.types import NATIVE, Log, PoolId, ProtocolName

PAIR_CREATED = declaration(
    "event PairCreated(address indexed token0, address indexed token1, address pair, uint256 pairs)"
)
POOL_CREATED = declaration(
    "event PoolCreated(address indexed token0, address indexed token1, uint24 indexed fee, "
    "int24 tickSpacing, address pool)"
)
CREATION_EVENTS: Mapping[ProtocolName, Declaration] = {"v2": PAIR_CREATED, "v3": POOL_CREATED, "v4": v4.INITIALIZE}


class DiscoveredPool(msgspec.Struct, frozen=True):
    """A pool as its factory's log describes it; addresses are lower-case."""

    id: PoolId
    protocol: ProtocolName
    factory: str
    token0: str
    token1: str
    fee: int | None = None
    tick_spacing: int | None = None
    hooks: str = NATIVE
    """0x00…00: none."""


def decode_creation(protocol: ProtocolName, log: Log) -> DiscoveredPool:
    """Raises AbiMismatch where the log is not the protocol's creation event."""
    event = decode_arguments(CREATION_EVENTS[protocol], log)
    if protocol == "v2":
        tokens = (_address(event["token0"]), _address(event["token1"]))
        return DiscoveredPool(PoolId(_address(event["pair"])), protocol, log.address, *tokens)
    if protocol == "v3":
        tokens = (_address(event["token0"]), _address(event["token1"]))
        pool = PoolId(_address(event["pool"]))
        return DiscoveredPool(pool, protocol, log.address, *tokens, event["fee"], event["tickSpacing"])
    tokens = (_address(event["currency0"]), _address(event["currency1"]))
    numbers = (event["fee"], event["tickSpacing"])
    return DiscoveredPool(v4.pool_of(log), protocol, log.address, *tokens, *numbers, _address(event["hooks"]))


def _address(word: int) -> str:
    return f"0x{word:040x}"
