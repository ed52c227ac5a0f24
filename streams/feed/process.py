"""The process `exex`: follows a node's heads and sends the listed pools' logs to a Unix socket, like a reth ExEx."""

from contextlib import aclosing

from prometheus_client import Gauge

from settings import Settings
from streams.feed.emitted_chain import BlockReplaced, EmittedChain
from streams.feed.journal import Journal
from streams.feed.log_filter import LogFilter
from streams.feed.socket_server import serve
from streams.kafka.groups import run_until_first_exit
from streams.node.blocks import NodeHeader
from streams.node.client import Node, connect_node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.heads import heads
from streams.retry import Retries
from streams.secret_url import SecretUrl

NODE_HEAD = Gauge("arena_exex_node_head_block", "The node's newest head")
HEAD = Gauge("arena_exex_head_block", "The last block sent to the socket; the lag is the difference of the two")

WAIT_INITIAL_S = 0.05
WAIT_MAX_S = 1.0


async def run(settings: Settings) -> None:
    """Until cancelled, however often node and NATS fail. Raises SocketTaken, SocketRefused."""
    socket = settings.exex_socket, settings.exex_buffer_bytes, settings.exex_socket_mode, settings.exex_socket_group
    async with connect_node(settings) as node, serve(*socket) as server:
        journal = Journal(settings)
        active = journal.load_filter()
        log_filter = LogFilter(node, settings, active.filters if active else None)
        chain = EmittedChain(node, log_filter, server, journal)
        await run_until_first_exit(
            log_filter.follow_whitelist(),
            log_filter.resolve_pool_managers(),
            _follow(node, settings.rpc_ws, chain),
        )


async def _follow(node: Node, ws: SecretUrl | None, chain: EmittedChain) -> None:
    failures = (BlockReplaced, NodeUnavailable, RpcError)
    retries = Retries("The feed", failures, wait_initial_s=WAIT_INITIAL_S, wait_max_s=WAIT_MAX_S)
    async with aclosing(heads(node, ws)) as newest:
        async for head in newest:
            NODE_HEAD.set(head.number)
            await _emit_up_to(node, chain, head, retries)


async def _emit_up_to(node: Node, chain: EmittedChain, head: NodeHeader, retries: Retries) -> None:
    """Emits up to the head, or to the one that has replaced it.

    Where heads come from another node than the logs, the latter may not have the block yet and report an older one as
    its latest; then the same head is tried again.
    """
    async for attempt in retries:
        with attempt:
            if attempt.num > 1:
                latest = await node.header("latest")
                if latest is not None and latest.hash != chain.tip:
                    head = latest
            await chain.follow(head)
            retries.reset()
    HEAD.set(head.number)
