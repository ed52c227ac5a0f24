"""A command that asks a port at which something else than a worker answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from commands.queries.worker_client import Unanswered, ask
from settings import Settings


@contextmanager
def answering(status: int, body: bytes) -> Iterator[Settings]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Settings(web_port=server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 100_000, b"\xff", b"9" * 5_000])
def test_something_else_than_a_worker_is_named(body: bytes) -> None:
    with answering(200, body) as settings, pytest.raises(Unanswered, match=r"what answers at .* is no worker"):
        ask(settings, "/status/", {})


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 100_000, b"{}"])
def test_an_error_without_a_sentence_shows_its_status(body: bytes) -> None:
    with answering(502, body) as settings, pytest.raises(Unanswered, match="the worker answers 502"):
        ask(settings, "/status/", {})
