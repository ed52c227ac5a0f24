"""What factories say when a pool is created: PairCreated, PoolCreated, and Initialize of a V4 PoolManager. PURE."""

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
DECLARED: Mapping[ProtocolName, Declaration] = {"v2": PAIR_CREATED, "v3": POOL_CREATED, "v4": v4.INITIALIZE}


class DiscoveredPool(msgspec.Struct, frozen=True):
    """What a factory tells of a pool; addresses lower-case."""

    id: PoolId
    protocol: ProtocolName
    factory: str
    token0: str
    token1: str
    fee: int | None = None
    tick_spacing: int | None = None
    hooks: str = NATIVE
    """0x00…00: none."""


def created(protocol: ProtocolName, log: Log) -> DiscoveredPool:
    """Raises AbiMismatch for a log that is not what the factory's kind of creation looks like."""
    said = decode_arguments(DECLARED[protocol], log)
    if protocol == "v2":
        tokens = (_address(said["token0"]), _address(said["token1"]))
        return DiscoveredPool(PoolId(_address(said["pair"])), protocol, log.address, *tokens)
    if protocol == "v3":
        tokens = (_address(said["token0"]), _address(said["token1"]))
        pool = PoolId(_address(said["pool"]))
        return DiscoveredPool(pool, protocol, log.address, *tokens, said["fee"], said["tickSpacing"])
    tokens = (_address(said["currency0"]), _address(said["currency1"]))
    numbers = (said["fee"], said["tickSpacing"])
    return DiscoveredPool(v4.pool_of(log), protocol, log.address, *tokens, *numbers, _address(said["hooks"]))


def _address(word: int) -> str:
    return f"0x{word:040x}"
