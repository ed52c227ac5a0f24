"""How the commands that run until they are stopped start and end."""

import asyncio
import importlib
import signal
from collections.abc import Callable, Coroutine

import prometheus_client
import uvloop

from settings import Settings, settings


def run_until_stopped(module: str) -> None:
    """Runs the module's `run`. SIGINT and SIGTERM end it in order, with exit code 0."""
    run: Callable[[Settings], Coroutine[None, None, None]] = importlib.import_module(module).run

    serve_metrics(settings())

    async def stoppable() -> None:
        task = asyncio.create_task(run(settings()))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    uvloop.run(stoppable())


def serve_metrics(settings: Settings) -> None:
    """Raises OSError where the port is taken. A worker has its own, under its HTTP port."""
    if settings.metrics_port is not None:
        prometheus_client.start_http_server(settings.metrics_port, addr=settings.web_bind or settings.web_host)
