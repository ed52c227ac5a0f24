"""The events that create pools, as each DEX declares its own. Pure."""

from collections.abc import Mapping

import msgspec

from protocols.abi import decode_arguments
from protocols.registry import dex_of
from protocols.types import NATIVE, Log, PoolId, ProtocolName


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


def creation_topic(protocol: ProtocolName) -> bytes:
    """topic0 of the protocol's creation event."""
    return dex_of(protocol).creation.log.topic0


def decode_creation(protocol: ProtocolName, log: Log) -> DiscoveredPool:
    """Raises AbiMismatch where the log is not the protocol's creation event."""
    dex = dex_of(protocol)
    names, arguments = dex.creation, decode_arguments(dex.creation.log, log)
    return DiscoveredPool(
        id=dex.created_pool(arguments),
        protocol=protocol,
        factory=log.address,
        token0=_address(arguments[names.token0]),
        token1=_address(arguments[names.token1]),
        fee=_optional(arguments, names.fee),
        tick_spacing=_optional(arguments, names.tick_spacing),
        hooks=_address(_optional(arguments, names.hooks) or 0),
    )


def _optional(arguments: Mapping[str, int], name: str | None) -> int | None:
    return None if name is None else arguments[name]


def _address(word: int) -> str:
    return f"0x{word:040x}"
