"""Subscribes to the whitelist on NATS for ever: the messages that JetStream retains first, then live ones."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from settings import Settings
from streams.nats.connection import connect_nats
from streams.nats.servers import server_addresses
from streams.nats.whitelist_decoder import subjects
from streams.retry import Retries

log = logging.getLogger(__name__)

RESEED_SUBJECT = "whitelist.reseed"
"""Asks publishers to publish the full list again."""
WAIT_INITIAL_S = 0.25
WAIT_MAX_S = 5.0
JETSTREAM_TIMEOUT_S = 2.0


class Received(NamedTuple):
    subject: str
    payload: bytes


class ConnectionLost(Exception):
    """The connection ended, or messages were lost on it."""


Inbox = asyncio.Queue[Received | ConnectionLost]


async def subscribe(settings: Settings) -> AsyncGenerator[Received, None]:
    """Every message on the chain's whitelist subjects. Each new connection begins with the retained messages.

    A message may come twice; those of one subject come in the order they were published.
    """
    failures = (NatsError, OSError, TimeoutError, ConnectionLost)
    retries = Retries("NATS", failures, wait_initial_s=WAIT_INITIAL_S, wait_max_s=WAIT_MAX_S)
    async for attempt in retries:
        with attempt:
            async with _subscribed(settings) as (client, live):
                retries.reset()
                async with aclosing(_messages(client, live, settings)) as messages:
                    async for message in messages:
                        yield message


@asynccontextmanager
async def _subscribed(settings: Settings) -> AsyncIterator[tuple[Client, Inbox]]:
    live: Inbox = asyncio.Queue()

    async def received(message: Msg) -> None:
        live.put_nowait(Received(message.subject, message.data))

    async def closed() -> None:
        live.put_nowait(ConnectionLost("the connection is lost"))

    async def failed(error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            live.put_nowait(ConnectionLost("messages arrive faster than they are read"))

    async with connect_nats(settings, on_error=failed, on_closed=closed) as client:
        await client.subscribe(subjects(settings.chain), cb=received)
        await client.flush()
        yield client, live


async def _messages(client: Client, live: Inbox, settings: Settings) -> AsyncGenerator[Received, None]:
    for message in await retained_messages(client, settings.chain):
        yield message
    await client.publish(RESEED_SUBJECT, b"")
    log.info("subscribed to the whitelist of %s at NATS %s", settings.chain, server_addresses(settings))
    while not isinstance(received := await live.get(), ConnectionLost):
        yield received
    raise received


async def retained_messages(client: Client, chain: str) -> list[Received]:
    """The last message of each subject in JetStream, oldest first; empty without a stream."""
    stream = client.jetstream(timeout=JETSTREAM_TIMEOUT_S)
    try:
        name = await stream.find_stream_name_by_subject(subjects(chain))
        info = await stream.stream_info(name, subjects_filter=subjects(chain))
        last = [await stream.get_last_msg(name, subject) for subject in info.state.subjects or {}]
    except (NotFoundError, ServiceUnavailableError):
        return []
    except (APIError, TimeoutError) as error:
        cause = str(error) or "no answer"
        log.warning("JetStream's retained messages cannot be read (%s); the next publication brings the list", cause)
        return []
    return [Received(each.subject or "", each.data or b"") for each in sorted(last, key=lambda each: each.seq or 0)]
