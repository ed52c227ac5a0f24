"""The chain's newest head, told as soon as the node knows it: by subscription, else by polling."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.transport.socket import SocketTransport

log = logging.getLogger(__name__)

POLL_S = 0.05
CHECK_S = 1.0
"""A subscription that says nothing for so long is compared with the node's own latest head."""
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0


class SubscriptionStalled(Exception):
    """The chain went on and the subscription did not say so."""


async def heads(node: Node, ws: str | None, poll_s: float = POLL_S) -> AsyncGenerator[NodeHeader, None]:
    """The newest head whenever it changes; blocks in between are left out. Runs for ever, whatever the node does.

    Subscribes at `ws`, or at the node's own address where that can be subscribed to, and polls the node where it
    cannot, while the subscription is away, and when it goes silent.
    """
    source = ws or (None if node.rpc.startswith(("http://", "https://")) else node.rpc)
    last: NodeHeader | None = None
    delay_s = FIRST_DELAY_S
    while True:
        if source is not None:
            try:
                async with aclosing(_subscribed(node, source, last)) as subscribed:
                    async for last in subscribed:
                        delay_s = FIRST_DELAY_S
                        yield last
            except (NodeUnavailable, RpcError, ConnectionError, SubscriptionStalled) as error:
                log.warning("No heads from %s: %s. Polling, and subscribing again in %.1f s", source, error, delay_s)
        async with aclosing(_polled(node, last, poll_s, None if source is None else delay_s)) as polled:
            async for last in polled:
                yield last
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)


async def _subscribed(node: Node, source: str, last: NodeHeader | None) -> AsyncGenerator[NodeHeader, None]:
    socket = SocketTransport(source, timeout_s=10.0)
    subscription = Node(source, socket)
    missed = 0
    try:
        await subscription.call("eth_subscribe", ["newHeads"])
        head: NodeHeader | None = await node.header("latest")
        while True:
            if head is not None and last is not None and head.number <= last.number:
                head = await node.header("latest")
            if head is not None and (last is None or head.hash != last.hash):
                last = head
                yield head
            head = await _next_notification(socket, subscription)
            missed = 0 if head is not None else missed
            if head is None and (latest := await node.header("latest")) and (last is None or latest.hash != last.hash):
                head, missed = latest, missed + 1
                if missed > 1:
                    raise SubscriptionStalled(f"it went silent while the chain went on to block {latest.number}")
    finally:
        await socket.close()


async def _next_notification(socket: SocketTransport, subscription: Node) -> NodeHeader | None:
    """The newest head that was told; None if nothing is told for a while."""
    try:
        message = await asyncio.wait_for(socket.notifications.get(), CHECK_S)
    except TimeoutError:
        return None
    while not socket.notifications.empty():
        message = socket.notifications.get_nowait()
    if isinstance(message, ConnectionError):
        raise message
    return subscription.read_header(message.get("params", {}).get("result", {}))


async def _polled(
    node: Node, last: NodeHeader | None, poll_s: float, duration_s: float | None
) -> AsyncGenerator[NodeHeader, None]:
    loop = asyncio.get_running_loop()
    end = float("inf") if duration_s is None else loop.time() + duration_s
    delay_s, down = poll_s, False
    while loop.time() < end:
        try:
            head = await node.header("latest")
        except (NodeUnavailable, RpcError) as error:
            delay_s = min(2 * delay_s, LONGEST_DELAY_S / 10)
            if not down:
                log.warning(
                    "No head from the node: %s. Trying again, at last every %.0f s", error, LONGEST_DELAY_S / 10
                )
            down = True
        else:
            if down:
                log.info("The node answers again")
            delay_s, down = poll_s, False
            if head is not None and (last is None or head.hash != last.hash):
                last = head
                yield head
        await asyncio.sleep(min(delay_s, max(0.0, end - loop.time())) if end < float("inf") else delay_s)
