"""The chain as the feed has told it: follows each new head from the last block told, over reorgs.

It remembers what it told, for a node forgets replaced blocks; nothing of a step is told before all of it is known.
"""

import logging
from collections.abc import Mapping, Sequence

from protocols import Decoded, Malformed, relevant
from protocols.types import Log, PoolId, ProtocolName
from streams.feed.blocks import FeedBlock, block_messages, feed_block, reorg_messages
from streams.feed.journal import KEPT_BLOCKS, ActiveFilter, FilterSet, Journal
from streams.feed.log_filter import LogFilter
from streams.feed.reorg_finals import finals
from streams.feed.socket_server import Server
from streams.node.client import Node, NodeHeader, RpcError

log = logging.getLogger(__name__)

RETURN_S = 5.0
"""A client whose feed was started again may take so long to connect; none at all may come."""


class Replaced(Exception):
    """The node does not know the block any more; another head is coming."""


class BeyondMemory(Exception):
    """The head cannot be reached from what was told."""


class FedChain:
    def __init__(
        self, node: Node, watch: LogFilter, server: Server, journal: Journal, memory_blocks: int = KEPT_BLOCKS
    ) -> None:
        self._node = node
        self._watch = watch
        self._server = server
        self._journal = journal
        self._memory_blocks = memory_blocks
        self._told: list[FeedBlock] = []
        """Ascending, each the parent of the next."""
        in_force = journal.list_in_force()
        self._in_force = in_force.watched if in_force else None
        """The list by which the last block was told."""
        self._is_loaded = False

    @property
    def tip(self) -> str | None:
        """The hash of the last block told."""
        return self._told[-1].header.hash if self._told else None

    async def follow(self, head: NodeHeader) -> None:
        """Raises Replaced, NodeUnavailable; what was told till then stands, and another head can be followed."""
        if not self._is_loaded:
            await self._load(head)
        try:
            ancestor, path = await self._path(head)
        except BeyondMemory as error:
            log.warning("%s; all clients are disconnected and the feed goes on at block %d", error, head.number)
            self._server.disconnect_all()
            self._told = []
            self._journal.rewrite(())
            ancestor, path = -1, [head]
        if self._told[ancestor + 1 :]:
            await self._reorg(ancestor, path)
        else:
            for header in path:
                watched = self._watch.watched
                self._tell(await self._read(header, watched), watched)

    async def _load(self, head: NodeHeader) -> None:
        """What an earlier process told; those who listened to it get the time to come back before it goes on."""
        genesis = await self._node.header(0)
        if genesis is not None:
            self._told = self._journal.load(genesis.hash)[-self._memory_blocks :]
        self._is_loaded = True
        if self._told and self.tip != head.hash:
            log.info("The feed goes on after block %d; the chain is at %d", self._told[-1].header.number, head.number)
            await self._server.client_came(RETURN_S)

    async def _path(self, head: NodeHeader) -> tuple[int, list[NodeHeader]]:
        """Where in memory the head's last known ancestor stands, and the headers from it up to the head."""
        if not self._told:
            return -1, [head]
        positions = {block.header.hash: position for position, block in enumerate(self._told)}
        if head.hash in positions:
            return positions[head.hash], []
        path = [head]
        while path[-1].parent not in positions:
            self._expect_within_memory(path)
            parent = await self._node.header(path[-1].parent)
            if parent is None:
                raise Replaced(f"the node does not know block {path[-1].parent}, the parent of {path[-1].hash}")
            path.append(parent)
        return positions[path[-1].parent], path[::-1]

    def _expect_within_memory(self, path: Sequence[NodeHeader]) -> None:
        lowest, tip, head = self._told[0].header, self._told[-1].header, path[0]
        if path[-1].number <= lowest.number:
            raise BeyondMemory(
                f"block {head.number} ({head.hash}) is of a fork from below block {lowest.number}, "
                f"and {len(self._told)} blocks up to {tip.number} are remembered"
            )
        if len(path) >= self._memory_blocks:
            raise BeyondMemory(
                f"{len(path)} blocks or more lie between block {tip.number}, told last, and {head.number}"
            )

    async def _reorg(self, ancestor: int, path: Sequence[NodeHeader]) -> None:
        watched = self._watch.watched
        kept, old = self._told[: ancestor + 1], self._told[ancestor + 1 :]
        new = [await self._read(header, watched) for header in path]
        tip = new[-1].header if new else kept[-1].header
        pools: dict[PoolId, ProtocolName] = {u.pool: u.protocol for block in (*old, *new) for u in block.updates}
        last = await finals(self._node, pools, watched.managers, tip.hash)
        if await self._node.header(tip.hash) is None:
            raise Replaced(f"the node does not know block {tip.hash} any more")
        log.info("A reorg: %d blocks after %d are replaced by %d", len(old), kept[-1].header.number, len(new))
        self._server.send(reorg_messages(kept[-1].header, old, new, last))
        self._told = (kept + new)[-self._memory_blocks :]
        self._journal.add(new, self._told, back_to=kept[-1].header.hash)
        if new:
            self._note_list(watched, new[0].header.number)

    async def _read(self, header: NodeHeader, watched: FilterSet) -> FeedBlock:
        try:
            logs = await self._node.logs(header.hash)
        except RpcError as error:
            raise Replaced(f"the logs of block {header.number} ({header.hash}) cannot be had: {error}") from error
        return feed_block(header, logs, _relevant(logs, watched))

    def _tell(self, block: FeedBlock, watched: FilterSet) -> None:
        self._server.send(block_messages(block))
        self._told = [*self._told, block][-self._memory_blocks :]
        self._journal.add([block], self._told)
        self._note_list(watched, block.header.number)

    def _note_list(self, watched: FilterSet, from_block: int) -> None:
        """A change of the list is in force from a block on, and which one is told and kept."""
        if watched == self._in_force:
            return
        before: Mapping[PoolId, ProtocolName | None] = self._in_force.pools if self._in_force else {}
        added, removed = watched.pools.keys() - before.keys(), before.keys() - watched.pools.keys()
        log.info(
            "From block %d on %d pools are told: %d more, %d less",
            from_block,
            len(watched.pools),
            *map(len, (added, removed)),
        )
        self._in_force = watched
        self._journal.keep_list(ActiveFilter(from_block, watched))


def _relevant(logs: Sequence[Log], watched: FilterSet) -> list[tuple[Log, Decoded]]:
    """A listed contract's log that does not fit its own topic is left out, and said."""
    try:
        return relevant(logs, watched.pools, watched.managers)
    except Malformed:
        return [found for each in logs for found in _relevant_one(each, watched.pools, watched.managers)]


def _relevant_one(
    each: Log, pools: Mapping[PoolId, ProtocolName | None], managers: Mapping[PoolId, str]
) -> list[tuple[Log, Decoded]]:
    try:
        return relevant([each], pools, managers)
    except Malformed as error:
        log.warning("A log is left out of the feed: %s", error)
        return []
