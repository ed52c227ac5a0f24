"""Publishes through JetStream, which keeps the last message of each subject for later subscribers."""

import logging
from collections.abc import Sequence

from nats.aio.client import Client
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError, ServiceUnavailableError

from streams.nats.whitelist_encoder import OutgoingMessage

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0


class NotStored(Exception):
    """JetStream does not store the messages."""


async def publish(client: Client, chain: str, messages: Sequence[OutgoingMessage]) -> None:
    """In order, each acknowledged. Raises NotStored, nats.errors.Error, TimeoutError."""
    stream = client.jetstream(timeout=TIMEOUT_S)
    try:
        await _ensure(client, chain)
        for message in messages:
            await stream.publish(message.subject, message.payload)
        await _purge_outdated(client, chain, {message.subject for message in messages})
    except (NoStreamResponseError, ServiceUnavailableError) as error:
        raise NotStored(
            "NATS runs without JetStream (nats-server -js), so later subscribers would get no list"
        ) from error
    except APIError as error:
        raise NotStored(f"JetStream refuses: {error.description} (code {error.err_code})") from error


async def _purge_outdated(client: Client, chain: str, published: set[str]) -> None:
    """Removes what a late reader would take for the whole list of pools: old parts, or messages from before the parts.

    JetStream keeps the last message of each subject, so an old `.full` or `.add` would stay beside a list in parts.
    """
    prefix = f"whitelist.pools.{chain}"
    outdated = set()
    for kind, others in (("full", ("full", "add", "remove")), ("minimal", ("minimal",))):
        if f"{prefix}.{kind}.part.1" in published:
            outdated |= {f"{prefix}.{other}" for other in others}
        elif f"{prefix}.{kind}" in published:
            outdated.add(f"{prefix}.{kind}.part.>")
    stream = client.jetstream(timeout=TIMEOUT_S)
    for subject in sorted(outdated):
        await stream.purge_stream(await stream.find_stream_name_by_subject(subject), subject=subject)


async def _ensure(client: Client, chain: str) -> None:
    """An existing stream that takes the chain's subjects is used as it is."""
    stream = client.jetstream(timeout=TIMEOUT_S)
    missing = []
    for subject in (f"whitelist.pools.{chain}", f"whitelist.tokens.{chain}"):
        try:
            await stream.find_stream_name_by_subject(f"{subject}.full")
        except NotFoundError:
            missing.append(f"{subject}.>")
    if missing:
        name = "whitelist-" + "".join(letter if letter.isalnum() else "_" for letter in chain)
        await stream.add_stream(StreamConfig(name=name, subjects=missing, max_msgs_per_subject=1))
        log.info("JetStream keeps the last message of each of %s in stream %s", ", ".join(missing), name)
