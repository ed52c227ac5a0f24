"""The chain that the feed has emitted: extends it to each new head, over reorgs.

It keeps the blocks it emitted, because a node forgets replaced ones. A step (a block, or a reorg) is read from the node
completely before any of it is emitted.
"""

import logging
from collections.abc import Mapping, Sequence

from protocols.decoding import Decoded, UndecodableLog, decode_listed
from protocols.types import Log, PoolId, ProtocolName
from streams.feed.blocks import FeedBlock, block_messages, feed_block, reorg_messages
from streams.feed.journal import KEPT_BLOCKS, ActiveFilter, FilterSet, Journal
from streams.feed.log_filter import LogFilter
from streams.feed.reorg_finals import read_final_states
from streams.feed.socket_server import FeedServer
from streams.node.block_logs import BlockLogs
from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.errors import RpcError

log = logging.getLogger(__name__)

RECONNECT_WAIT_S = 5.0
"""After a restart of the feed, clients of the process before get this long to connect again."""


class BlockReplaced(Exception):
    """The node no longer knows the block; a newer head follows."""


class AncestorNotKept(Exception):
    """No emitted block that is still kept is an ancestor of the head, or too many blocks lie between."""


class EmittedChain:
    def __init__(
        self, node: Node, log_filter: LogFilter, server: FeedServer, journal: Journal, memory_blocks: int = KEPT_BLOCKS
    ) -> None:
        self._node = node
        self._logs = BlockLogs(node)
        self._log_filter = log_filter
        self._server = server
        self._journal = journal
        self._memory_blocks = memory_blocks
        self._emitted: list[FeedBlock] = []
        """Ascending, each the parent of the next."""
        active = journal.load_filter()
        self._active_filters = active.filters if active else None
        """The filters of the last emitted block."""
        self._is_loaded = False

    @property
    def tip(self) -> str | None:
        """The hash of the last emitted block."""
        return self._emitted[-1].header.hash if self._emitted else None

    async def follow(self, head: NodeHeader) -> None:
        """Emits all blocks up to the head. After BlockReplaced or NodeUnavailable any head can follow."""
        if not self._is_loaded:
            await self._restore(head)
        try:
            ancestor, path = await self._path_from_ancestor(head)
        except AncestorNotKept as error:
            log.warning("%s; all clients are disconnected and the feed continues at block %d", error, head.number)
            self._server.disconnect_all()
            self._emitted = []
            self._journal.rewrite(())
            ancestor, path = -1, [head]
        if self._emitted[ancestor + 1 :]:
            await self._emit_reorg(ancestor, path)
        else:
            for header in path:
                filters = self._log_filter.filters
                await self._emit(await self._read_block(header, filters), filters)

    async def _restore(self, head: NodeHeader) -> None:
        """Loads what the process before emitted, and lets its clients connect again before more is emitted."""
        genesis = await self._node.header(0)
        if genesis is not None:
            self._emitted = self._journal.load(genesis.hash)[-self._memory_blocks :]
        self._is_loaded = True
        if self._emitted and self.tip != head.hash:
            last = self._emitted[-1].header.number
            log.info("the feed continues after block %d; the chain is at %d", last, head.number)
            await self._server.wait_for_client(RECONNECT_WAIT_S)

    async def _path_from_ancestor(self, head: NodeHeader) -> tuple[int, list[NodeHeader]]:
        """The position of the head's newest emitted ancestor (-1: none), and the headers after it."""
        if not self._emitted:
            return -1, [head]
        positions = {block.header.hash: position for position, block in enumerate(self._emitted)}
        if head.hash in positions:
            return positions[head.hash], []
        path = [head]
        while path[-1].parent not in positions:
            self._check_is_kept(path)
            parent = await self._node.header(path[-1].parent)
            if parent is None:
                raise BlockReplaced(f"the node does not know block {path[-1].parent}, the parent of {path[-1].hash}")
            path.append(parent)
        return positions[path[-1].parent], path[::-1]

    def _check_is_kept(self, path: Sequence[NodeHeader]) -> None:
        lowest, tip, head = self._emitted[0].header, self._emitted[-1].header, path[0]
        if path[-1].number <= lowest.number:
            raise AncestorNotKept(
                f"block {head.number} ({head.hash}) is on a fork from below block {lowest.number}, "
                f"and {len(self._emitted)} blocks up to {tip.number} are kept"
            )
        if len(path) >= self._memory_blocks:
            raise AncestorNotKept(
                f"{len(path)} blocks or more lie between the last emitted block {tip.number} and {head.number}"
            )

    async def _emit_reorg(self, ancestor: int, path: Sequence[NodeHeader]) -> None:
        filters = self._log_filter.filters
        kept, old = self._emitted[: ancestor + 1], self._emitted[ancestor + 1 :]
        new = [await self._read_block(header, filters) for header in path]
        tip = new[-1].header if new else kept[-1].header
        pools: dict[PoolId, ProtocolName] = {u.pool: u.protocol for block in (*old, *new) for u in block.updates}
        last = await read_final_states(self._node, pools, filters.managers, tip.hash)
        if await self._node.header(tip.hash) is None:
            raise BlockReplaced(f"the node does not know block {tip.hash} any more")
        log.info("reorg: %d blocks after block %d are replaced by %d", len(old), kept[-1].header.number, len(new))
        await self._server.send(reorg_messages(kept[-1].header, old, new, last))
        self._emitted = (kept + new)[-self._memory_blocks :]
        self._journal.add(new, self._emitted, ancestor=kept[-1].header.hash)
        if new:
            self._save_filter(filters, new[0].header.number)

    async def _read_block(self, header: NodeHeader, filters: FilterSet) -> FeedBlock:
        try:
            logs = await self._logs.read_all(header)
        except RpcError as error:
            raise BlockReplaced(f"the logs of block {header.number} ({header.hash}) cannot be read: {error}") from error
        return feed_block(header, logs, _relevant_logs(logs, filters))

    async def _emit(self, block: FeedBlock, filters: FilterSet) -> None:
        await self._server.send(block_messages(block))
        self._emitted = [*self._emitted, block][-self._memory_blocks :]
        self._journal.add([block], self._emitted)
        self._save_filter(filters, block.header.number)

    def _save_filter(self, filters: FilterSet, from_block: int) -> None:
        """A change of the filters takes effect with a block; which one is logged and kept."""
        if filters == self._active_filters:
            return
        before: Mapping[PoolId, ProtocolName | None] = self._active_filters.pools if self._active_filters else {}
        added, removed = filters.pools.keys() - before.keys(), before.keys() - filters.pools.keys()
        log.info(
            "the feed follows %d pools from block %d: %d added, %d removed",
            *(len(filters.pools), from_block, len(added), len(removed)),
        )
        self._active_filters = filters
        self._journal.save_filter(ActiveFilter(from_block, filters))


def _relevant_logs(logs: Sequence[Log], filters: FilterSet) -> list[tuple[Log, Decoded]]:
    """Leaves out, with a warning, a listed contract's log that does not have the form of its event."""
    try:
        return decode_listed(logs, filters.pools, filters.managers)
    except UndecodableLog:
        return [found for each in logs for found in _relevant_log(each, filters.pools, filters.managers)]


def _relevant_log(
    each: Log, pools: Mapping[PoolId, ProtocolName | None], managers: Mapping[PoolId, str]
) -> list[tuple[Log, Decoded]]:
    try:
        return decode_listed([each], pools, managers)
    except UndecodableLog as error:
        log.warning("a log is left out of the feed: %s", error)
        return []
