"""The process `exex`: follows a node's heads and tells listed pools' logs on a Unix socket, as an ExEx in it would."""

import asyncio
import logging
from contextlib import aclosing

from settings import Settings
from streams.feed.emitted_chain import BlockReplaced, EmittedChain
from streams.feed.journal import Journal
from streams.feed.log_filter import LogFilter
from streams.feed.metrics import HEAD, NODE_HEAD, TRIES
from streams.feed.socket_server import serve
from streams.kafka.groups import run_until_first_exit
from streams.node.client import Node, NodeHeader, NodeUnavailable, RpcError, connect
from streams.node.heads import heads

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 1.0


async def run(settings: Settings) -> None:
    """Until cancelled, whatever node and NATS do. Raises SocketTaken."""
    async with connect(settings.rpc) as node, serve(settings.exex_socket, settings.exex_buffer_bytes) as server:
        journal = Journal(settings)
        active = journal.load_filter()
        log_filter = LogFilter(node, settings, active.filters if active else None)
        chain = EmittedChain(node, log_filter, server, journal)
        await run_until_first_exit(
            log_filter.follow_whitelist(), log_filter.resolve_pool_managers(), _follow(node, settings.rpc_ws, chain)
        )


async def _follow(node: Node, ws: str | None, chain: EmittedChain) -> None:
    async with aclosing(heads(node, ws)) as newest:
        async for head in newest:
            NODE_HEAD.set(head.number)
            await _emit_up_to(node, chain, head)


async def _emit_up_to(node: Node, chain: EmittedChain, head: NodeHeader) -> None:
    """Follows the head, or the one that took its place meanwhile.

    Where heads come from another node than the logs, the latter may not have the block yet and call an older one its
    latest; then the head is tried again.
    """
    delay_s = FIRST_DELAY_S
    while True:
        try:
            await chain.follow(head)
        except (BlockReplaced, NodeUnavailable, RpcError) as error:
            TRIES.inc()
            if delay_s == FIRST_DELAY_S:
                log.warning("Block %d cannot be read: %s. Trying again from the newest head", head.number, error)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)
            latest = await _latest(node)
            if latest is not None and latest.hash != chain.tip:
                head = latest
        else:
            HEAD.set(head.number)
            return


async def _latest(node: Node) -> NodeHeader | None:
    try:
        return await node.header("latest")
    except (NodeUnavailable, RpcError):
        return None
