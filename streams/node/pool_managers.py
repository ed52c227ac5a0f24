"""Which contract keeps a V4 pool: its PoolManager, from the list, the settings, the chain, or the pool's first log."""

import logging
from weakref import WeakKeyDictionary

import msgspec

from protocols.registry import dex_of, is_singleton
from protocols.types import PoolId, PoolMetadata, ProtocolName
from settings import Settings
from streams.node.client import Node
from streams.node.errors import RpcError
from streams.node.log_ranges import MAX_WIDTH, LogsRefused, RangeWidth, logs_in_ranges
from streams.node.transport.hex_values import is_hex

log = logging.getLogger(__name__)

WELL_KNOWN = {
    1: "0x000000000004444c5dc75cb358380d2e3de08a90",
    10: "0x9a13f98cb987694c9f086b1f5eb990eea8264ec3",
    56: "0x28e2ea090877bf75740558f6bfb36a5ffee9e9df",
    130: "0x1f98400000000000000000000000000000000004",
    137: "0x67366782805870060151383f4bbff9dab53e5cd6",
    480: "0xb1860d529182ac3bc1f51fa2abd56662b7d13f33",
    8453: "0x498581ff718922c3f8e6a244956af099b2652b2b",
    42161: "0x360e68faccca8ca495c1b759fd9eee466db9fb32",
    43114: "0x06380c0e0912312b5150364b9dc4542ba0dbbc85",
    81457: "0x1631559198a9e474033433b2958dabc135ab6446",
}
"""By chain id, as docs.uniswap.org/contracts/v4/deployments names them."""


class ManagerCache(msgspec.Struct):
    """What a node has answered. Only what is found is kept: a pool may still be created, a node still be syncing."""

    of_chain: str | None = None
    of_pools: dict[PoolId, str] = {}
    warned: set[PoolId] = set()
    """Pools of which it was logged that theirs cannot be found."""


_caches: WeakKeyDictionary[Node, ManagerCache] = WeakKeyDictionary()


async def pool_manager(node: Node, pool: PoolMetadata, settings: Settings) -> str | None:
    """Lower-case 0x hex. None for a pool of another protocol, and where neither list, settings nor chain name one.

    Raises NodeUnavailable, RpcError.
    """
    if not is_singleton(pool.protocol):
        return None
    if named := pool.factory or settings.v4_pool_manager:
        return named.lower()
    cache = _caches.setdefault(node, ManagerCache())
    if cache.of_chain is None:
        cache.of_chain = await _well_known(node)
    return cache.of_chain or cache.of_pools.get(pool.id) or await _emitter(node, pool.protocol, pool.id, cache)


async def _well_known(node: Node) -> str | None:
    """None also where the node has not yet synced to the block that created it."""
    manager = WELL_KNOWN.get(await node.chain_id())
    if manager is None:
        return None
    code = await node.call("eth_getCode", [manager, "latest"])
    return manager if is_hex(code) and len(code) > 2 else None


async def _emitter(node: Node, protocol: ProtocolName, pool: PoolId, cache: ManagerCache) -> str | None:
    query = {"topics": ["0x" + dex_of(protocol).creation.log.topic0.hex(), pool]}
    head = await node.header("latest")
    emitters: set[str] = set()
    try:
        async for found in logs_in_ranges(node, query, 0, 0 if head is None else head.number, RangeWidth(MAX_WIDTH)):
            emitters |= {each.log.address for each in found}
    except (RpcError, LogsRefused) as error:
        _warn_once(cache, pool, f"cannot be looked up ({error})")
        return None
    if len(emitters) > 1:
        _warn_once(cache, pool, f"is not certain, {', '.join(sorted(emitters))} all claim to have created the pool")
    if len(emitters) != 1:
        return None
    cache.of_pools[pool] = emitters.pop()
    return cache.of_pools[pool]


def _warn_once(cache: ManagerCache, pool: PoolId, fault: str) -> None:
    level = logging.DEBUG if pool in cache.warned else logging.WARNING
    cache.warned.add(pool)
    log.log(level, "the PoolManager of %s %s; set ARENA_V4_POOL_MANAGER", pool, fault)
