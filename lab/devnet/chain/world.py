"""A chain with contracts, pools, traffic and reorgs, and the reader of its true state."""

from typing import Literal

from lab.devnet.chain.blocks import Chain, MinedBlock
from lab.devnet.chain.contracts import Contracts, Pool, create_v3, first_pools
from lab.devnet.chain.evm import Rpc
from lab.devnet.chain.traffic import Heads, Traffic
from lab.devnet.reference.reader import ReferenceReader

ReorgKind = Literal["rewound", "replaced"]
"""Rewound: anvil goes back and other traffic is mined. Replaced: anvil swaps in empty blocks at once."""


class World:
    def __init__(self, rpc: str, seed: int, transactions_per_block: int = 8) -> None:
        """Deploys everything and gives each pool its first liquidity."""
        self.chain = Chain(Rpc(rpc))
        self.contracts = Contracts.deployed(self.chain)
        self.reference = ReferenceReader(self.chain.rpc, self.contracts.multicall)
        self.archive: dict[str, Heads] = {}
        """Every pool's fields after each block mined, by hash; also of blocks that are gone, which anvil forgets."""
        self._transactions = transactions_per_block
        pools = first_pools(self.chain, self.contracts)
        self._first_pools = len(pools)
        self._half_created = range(0)
        """The blocks in which the last pool was on its way."""
        self._heads: Heads = self.reference.heads(pools, "latest")
        self.traffic = Traffic(self.contracts, pools, self._heads, seed)
        for pool in pools:
            self.chain.mine(self.traffic.opening(pool, self._heads))
            self._record_heads()
        self.settled = self.chain.tip.number
        """The block in which the last of the first pools got its liquidity; no reorg should go below it."""

    @property
    def has_late(self) -> bool:
        return len(self.pools) > self._first_pools

    def grow(self, blocks: int) -> None:
        """Empty blocks, at once."""
        self.chain.mine_empty(blocks)
        self._remember_up_to_tip()

    @property
    def pools(self) -> list[Pool]:
        return self.traffic.pools

    def mine(self) -> MinedBlock:
        block = self.chain.mine(self.traffic.block(self._heads, self._transactions))
        self._record_heads()
        return block

    def create_late(self, at_tick: int = 777) -> Pool:
        """One more V3 pool with liquidity, over three blocks; a reorg below them takes it away."""
        tokens = (self.contracts.tokens[2], self.contracts.tokens[3])
        first = self.chain.tip.number + 1
        pool = create_v3(self.chain, self.contracts.v3_factory, tokens, 500, at_tick=at_tick)
        heads = self.reference.heads([*self.pools, pool], "latest")
        self._remember_up_to_tip()
        self.traffic.add(pool, heads)
        self.chain.mine(self.traffic.opening(pool, heads))
        self._record_heads()
        self._half_created = range(first, self.chain.tip.number)
        return pool

    def reorg(self, depth: int, *, kind: ReorgKind = "rewound", longer_by: int = 1) -> list[Pool]:
        """The last `depth` blocks are replaced by others, `longer_by` more of them; a negative number leaves fewer.

        A few more are, where a pool would be left half created. Returns the pools that are gone.
        """
        ancestor = self.chain.tip.number - depth
        if ancestor in self._half_created:
            ancestor = self._half_created.start - 1
            depth = self.chain.tip.number - ancestor
        if kind == "replaced":
            self.chain.replace(depth)
        else:
            self.chain.rewind(depth)
        gone = self.traffic.forget(ancestor)
        self._remember_up_to_tip()
        self._record_heads()
        while self.chain.tip.number < ancestor + depth + longer_by:
            self.mine()
        return gone

    def _record_heads(self) -> None:
        self._heads = self.reference.heads(self.pools, self.chain.tip.hash)
        self.archive[self.chain.tip.hash] = self._heads
        self.traffic.remember(self.chain.tip.number)

    def _remember_up_to_tip(self) -> None:
        """Blocks that came by other ways than `mine` changed nothing that traffic holds."""
        for number in self.traffic.unknown_up_to(self.chain.tip.number):
            block = self.chain.rpc.call("eth_getBlockByNumber", hex(number), False)
            self.archive[block["hash"]] = self.reference.heads(self.pools, block["hash"])
            self.traffic.remember(number)
