"""A publisher whose whitelist keeps changing: it adds, removes and replaces pools on NATS, and answers a reseed."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from lab.devnet.chain.contracts import Pool
from lab.devnet.servers import whitelist_publisher as listing
from lab.devnet.servers.background import BackgroundLoop

RESEED = "whitelist.reseed"
PAUSE_S = 0.3

Action = Literal["add", "remove", "replace"]


class ChangingWhitelist:
    """Runs in a thread of its own and survives outages of NATS; messages arrive in order, at least once."""

    def __init__(self, url: str, chain: str, pools: Sequence[Pool]) -> None:
        self._url = url
        self._chain = chain
        self._listed: dict[str, Pool] = {pool.id: pool for pool in pools}
        self._outgoing: asyncio.Queue[list[tuple[str, bytes]]] = asyncio.Queue()
        self._background = BackgroundLoop("publisher")
        self._background.start(self._run())

    @property
    def listed(self) -> dict[str, Pool]:
        return self._listed

    def publish(self, action: Action, pools: Sequence[Pool], *, own_subjects: bool = False) -> None:
        """Queues the message; `replace` makes `pools` the whole list."""
        self._background.run(self._enqueue(action, pools, own_subjects))

    def wait_until_published(self, timeout_s: float) -> None:
        """Until every message is published."""
        self._background.run(asyncio.wait_for(self._outgoing.join(), timeout_s))

    def stop(self) -> None:
        self._background.stop()

    async def _enqueue(self, action: Action, pools: Sequence[Pool], own_subjects: bool) -> None:
        named: dict[str, Pool] = {pool.id: pool for pool in pools}
        if action == "remove":
            self._listed = {key: pool for key, pool in self._listed.items() if key not in named}
        else:
            self._listed = named if action == "replace" else {**self._listed, **named}
        await self._outgoing.put(self._full() if action == "replace" else self._change(action, pools, own_subjects))

    def _full(self) -> list[tuple[str, bytes]]:
        pools = list(self._listed.values())
        messages = {"full": listing.full(self._chain, pools), "minimal": listing.minimal(self._chain, pools)}
        return [(self._subject(name), json.dumps(message).encode()) for name, message in messages.items()]

    def _change(
        self, action: Literal["add", "remove"], pools: Sequence[Pool], own_subjects: bool
    ) -> list[tuple[str, bytes]]:
        full: dict[str, Any] = {**listing.full(self._chain, pools), "type": action}
        if action == "remove":
            del full["pools"]
            full["pool_addresses"] = [pool.id for pool in pools]
        if own_subjects:
            return [(self._subject(action), json.dumps(full).encode())]
        minimal = {**listing.minimal(self._chain, pools), "type": action}
        return [
            (self._subject(name), json.dumps(each).encode()) for name, each in (("full", full), ("minimal", minimal))
        ]

    def _subject(self, name: str) -> str:
        return f"whitelist.pools.{self._chain}.{name}"

    async def _run(self) -> None:
        while True:
            with suppress(NatsError, APIError, OSError, TimeoutError):
                client = await nats.connect(self._url, allow_reconnect=False, ping_interval=2, error_cb=_ignore)
                try:
                    await self._serve(client)
                finally:
                    with suppress(NatsError, OSError, TimeoutError):
                        await client.close()
            await asyncio.sleep(PAUSE_S)

    async def _serve(self, client: Client) -> None:
        async def reseed(message: Msg) -> None:
            await self._outgoing.put(self._full())

        stream = client.jetstream(timeout=3)
        await stream.add_stream(listing.STREAM)
        await client.subscribe(RESEED, cb=reseed)
        await client.flush()
        await self._outgoing.put(self._full())
        while not client.is_closed:
            with suppress(asyncio.TimeoutError):
                messages = await asyncio.wait_for(self._outgoing.get(), 1)
                await self._publish(stream, messages)

    async def _publish(self, stream: Any, messages: list[tuple[str, bytes]]) -> None:
        """Messages lost in an outage are made up for by the full list sent after each connect."""
        try:
            for subject, payload in messages:
                await stream.publish(subject, payload)
        except (NatsError, APIError, OSError, TimeoutError) as error:
            raise ConnectionError(f"NATS did not take {len(messages)} messages") from error
        finally:
            self._outgoing.task_done()


async def _ignore(error: Exception) -> None:
    """Errors of the connection surface where it publishes."""
