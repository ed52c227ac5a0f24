"""The demo's chain as a whole: contracts, pools, traffic, reorgs, and the judge of what it should look like."""

from typing import Literal

from demo.chain import Chain, MinedBlock
from demo.contracts import Contracts, Pool, first_pools
from demo.evm import Rpc
from demo.traffic import Traffic
from demo.truth import Judge

ReorgKind = Literal["rewound", "replaced"]
"""Rewound: anvil goes back and other traffic is mined. Replaced: anvil swaps in empty blocks at once."""


class World:
    def __init__(self, rpc: str, seed: int, transactions_per_block: int = 8) -> None:
        """Deploys everything and gives each pool its first liquidity."""
        self.chain = Chain(Rpc(rpc))
        self.contracts = Contracts.deployed(self.chain)
        self.judge = Judge(self.chain.rpc, self.contracts.multicall)
        self._transactions = transactions_per_block
        pools = first_pools(self.chain, self.contracts)
        heads = self.judge.heads(pools, "latest")
        self.traffic = Traffic(self.contracts, pools, heads, seed)
        for pool in pools:
            self.chain.mine(self.traffic.opening(pool, heads))
            self.traffic.remember(self.chain.tip.number)

    @property
    def pools(self) -> list[Pool]:
        return self.traffic.pools

    def mine(self) -> MinedBlock:
        heads = self.judge.heads(self.pools, "latest")
        block = self.chain.mine(self.traffic.block(heads, self._transactions))
        self.traffic.remember(block.number)
        return block

    def reorg(self, depth: int, *, kind: ReorgKind = "rewound", longer_by: int = 1) -> MinedBlock:
        """The last `depth` blocks are replaced by others, `longer_by` more of them; a negative number leaves fewer."""
        ancestor = self.chain.tip.number - depth
        if kind == "replaced":
            self.chain.replace(depth)
        else:
            self.chain.rewind(depth)
        self.traffic.forget(ancestor)
        for number in range(ancestor + 1, self.chain.tip.number + 1):
            self.traffic.remember(number)
        while self.chain.tip.number < ancestor + depth + longer_by:
            self.mine()
        return self.chain.tip
