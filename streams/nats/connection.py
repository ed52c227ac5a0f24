"""Connects to NATS: to the first server that accepts, with the settings' credentials and TLS.

nats-py sends the password also to a server that offers no TLS, and its own reconnect hangs on an unknown certificate
authority. So a password is handed out only once this connection is encrypted or stays on this machine, and callers
connect again themselves.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ssl import SSLCertVerificationError, SSLContext, SSLError

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoServersError

from settings import Settings
from streams.nats.servers import NatsServer, nats_servers, tls_context

log = logging.getLogger(__name__)

STEP_TIMEOUT_S = 5
"""For each step of a connect."""
CONNECT_TIMEOUT_S = 10.0
PING_INTERVAL_S = 10
CLOSE_TIMEOUT_S = 2.0

FAILURES = (NatsError, OSError, TimeoutError)


class NatsUnavailable(ConnectionError):
    """No server of ARENA_NATS accepts the connection."""


class Unencrypted(NatsError):
    """The server offers no TLS where the settings or the password need it."""


class Callbacks:
    """Of one client: they reach the caller once the connection is his."""

    def __init__(
        self,
        on_error: Callable[[Exception], Awaitable[None]] | None = None,
        on_closed: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._on_error = on_error
        self._on_closed = on_closed
        self.is_connected = False
        self.last_error: Exception | None = None

    async def error(self, error: Exception) -> None:
        log.debug("NATS: %s", error)
        self.last_error = error
        if self._on_error is not None and self.is_connected:
            await self._on_error(error)

    async def closed(self) -> None:
        if self._on_closed is not None and self.is_connected:
            await self._on_closed()


@asynccontextmanager
async def connect_nats(
    settings: Settings,
    on_error: Callable[[Exception], Awaitable[None]] | None = None,
    on_closed: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Client]:
    """One connection without reconnect. Raises NatsUnavailable with each server's failure, InsecureNats."""
    failures = []
    for server in nats_servers(settings):
        callbacks = Callbacks(on_error, on_closed)
        try:
            client = await _connect(server, settings, callbacks)
        except FAILURES as error:
            hidden = isinstance(error, NoServersError) and callbacks.last_error
            failures.append(f"{server.address}: {_cause(hidden or error)}")
            continue
        callbacks.is_connected = True
        try:
            yield client
        finally:
            await _close(client)
        return
    raise NatsUnavailable("; ".join(failures))


async def _connect(server: NatsServer, settings: Settings, callbacks: Callbacks) -> Client:
    """Raises one of FAILURES, InsecureNats."""
    client, context = Client(), tls_context(settings)

    def secret() -> str:
        _require_encryption(server, context)
        return server.password or ""

    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.connect(
                server.url,
                name="pool-state-arena",
                error_cb=callbacks.error,
                closed_cb=callbacks.closed,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=STEP_TIMEOUT_S,
                ping_interval=PING_INTERVAL_S,
                tls=context,
                user=server.user,
                password=None if server.user is None else secret,
                token=secret if server.user is None and server.password is not None else None,
                user_credentials=None if settings.nats_credentials is None else str(settings.nats_credentials),
            )
        if server.needs_tls:
            _require_encryption(server, context)
    except BaseException:
        await _close(client)
        raise
    return client


async def _close(client: Client) -> None:
    """With a time limit: after a failed TLS handshake the client waits for ever."""
    with suppress(*FAILURES):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await client.close()


def _require_encryption(server: NatsServer, context: SSLContext) -> None:
    """The context serves one connection only, so a finished handshake is that connection's. Raises Unencrypted."""
    if context.session_stats()["connect_good"]:
        return
    if server.needs_tls:
        raise Unencrypted("the server offers no TLS, which the settings ask for; no password is sent")
    if not server.is_loopback:
        raise Unencrypted("the server offers no TLS, and no password is sent in clear to another machine")


def _cause(error: BaseException) -> str:
    match error:
        case SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message} (ARENA_NATS_TLS_CA)"
        case SSLError() if "ALERT" in str(error.reason):
            return f"it refuses the client certificate: {error.reason} (ARENA_NATS_TLS_CERTIFICATE)"
        case BrokenPipeError() | ConnectionResetError():
            return "it closed the connection; servers that ask for a client certificate do (ARENA_NATS_TLS_CERTIFICATE)"
        case TimeoutError():
            return "no answer in time"
        case _:
            return str(error) or type(error).__name__
