"""Scans of the factories on the chain of lab.devnet, and the pools that they found."""

from lab.devnet.chain.world import World
from protocols.types import Block, PoolId
from streams.node.client import connect
from streams.node.log_ranges import RangeWidth
from whitelist.configuration import Factory
from whitelist.pools.factory_scan import FactoryScanner
from whitelist.pools.pool_index import PoolIndex


def factories(world: World) -> list[Factory]:
    contracts = world.contracts
    kinds = {contracts.v2_factory: "v2", contracts.v3_factory: "v3", contracts.pancake_factory: "v3"}
    return [Factory(protocol=kind, address=address) for address, kind in (kinds | {contracts.manager: "v4"}).items()]


def tip(world: World) -> Block:
    return Block(world.chain.tip.number, world.chain.tip.hash)


async def scanned(rpc: str, found: PoolIndex, kinds: list[Factory], head: Block, width: int = 2_000) -> RangeWidth:
    async with connect(rpc) as node:
        scanner = FactoryScanner(node, found, lambda blocks, next_block: None, RangeWidth(width))
        await scanner.scan(kinds, head)
        return scanner.width


def known(found: PoolIndex, world: World) -> set[PoolId]:
    return {pool.id for kind in factories(world) for pool in found.outside_tokens([], [kind.address], 1_000)}
