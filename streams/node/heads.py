"""Follows the chain's newest head: by subscription, else by polling."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.errors import NodeUnavailable, RpcError
from streams.node.head_poller import HeadPoller
from streams.node.provider import NodeLimits, is_http
from streams.node.transport.socket import SocketTransport
from streams.retry import Backoff
from streams.secret_url import SecretUrl

log = logging.getLogger(__name__)

CHECK_S = 1.0
"""After so long without a notification the node is asked for its head."""
TIMEOUT_S = 10.0


class SubscriptionStalled(Exception):
    """The chain goes on and the subscription does not say so."""


async def heads(node: Node, ws: SecretUrl | None) -> AsyncGenerator[NodeHeader, None]:
    """The newest head whenever it changes, for ever; blocks in between are left out.

    Subscribes at `ws`, or at the node's own address if that is a WebSocket or IPC. Polls the node where there is no
    subscription, and while the subscription fails or is stalled. Raises WrongChain for a subscription of another chain.
    """
    source = ws or (None if is_http(node.rpc) else node.rpc)
    poller, backoff = HeadPoller(node), Backoff()
    last: NodeHeader | None = None
    poll_s = math.inf
    while True:
        if source is not None:
            try:
                async with aclosing(_subscribed(poller, source, last)) as subscribed:
                    async for last in subscribed:
                        backoff.reset()
                        yield last
            except (NodeUnavailable, RpcError, ConnectionError, SubscriptionStalled) as error:
                poll_s = backoff.next_s()
                log.warning("no heads by subscription: %s. Polling, and subscribing again in %.1f s", error, poll_s)
        async with aclosing(poller.poll(last, poll_s)) as polled:
            async for last in polled:
                yield last


async def _subscribed(
    poller: HeadPoller, source: SecretUrl, last: NodeHeader | None
) -> AsyncGenerator[NodeHeader, None]:
    """Heads of a subscription. Raises NodeUnavailable, RpcError, ConnectionError, SubscriptionStalled, WrongChain."""
    socket = SocketTransport(source.get_secret_value(), timeout_s=TIMEOUT_S)
    missed = 0
    try:
        limits = NodeLimits(chain_id=await poller.chain_id(), chain_id_of="the node of ARENA_RPC")
        subscription = Node(source, socket, limits)
        await subscription.call("eth_subscribe", ["newHeads"])
        head = await poller.newer_head(last)
        while True:
            if head is not None and (last is None or head.hash != last.hash):
                poller.learn_block_time(last, head)
                last = head
                yield head
            head = await _next_notification(socket, subscription)
            if head is not None:
                missed = 0
                if last is not None and head.number <= last.number:
                    head = await poller.latest()  # a reorg's notifications may come in any order
            elif (head := await poller.newer_head(last)) is not None:
                missed += 1
                if missed > 1:
                    raise SubscriptionStalled(f"no notification while the chain went on to block {head.number}")
    finally:
        await socket.close()


async def _next_notification(socket: SocketTransport, subscription: Node) -> NodeHeader | None:
    """The newest head that has arrived; None if none arrives for a while."""
    try:
        message = await asyncio.wait_for(socket.notifications.get(), CHECK_S)
    except TimeoutError:
        return None
    while not socket.notifications.empty():
        message = socket.notifications.get_nowait()
    if isinstance(message, ConnectionError):
        raise ConnectionError(subscription.rpc.scrub(str(message))) from message
    return subscription.read_header(_result(message))


def _result(notification: Any) -> Any:
    match notification:
        case {"params": {"result": result}}:
            return result
        case _:
            return None
