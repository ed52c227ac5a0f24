"""Uniswap V2 and its forks: Sync alone tells the reserves; Swap, Mint and Burn come with a Sync of their own."""

from collections.abc import Callable, Mapping

from protocols.abi import Declaration, declaration
from protocols.events import Event, Sync
from protocols.types import Log, PoolId, ProtocolName

NAME: ProtocolName = "v2"

EVENTS: Mapping[Declaration, Callable[[Mapping[str, int]], Event]] = {
    declaration("event Sync(uint112 reserve0, uint112 reserve1)"): lambda sync: Sync(
        sync["reserve0"], sync["reserve1"]
    ),
}


def pool_of(log: Log) -> PoolId:
    return PoolId(log.address)
