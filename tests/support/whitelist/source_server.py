"""A local server in place of the public token sources: real answers, and every way to fail."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

FAULTS = ("down", "slow", "empty", "rubbish", "truncated", "error", "other")


class SourceServer:
    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.slow_s = 4.0
        self.fault = ""
        """One of `FAULTS`, or empty."""
        self.asked: list[tuple[str, str, bytes]] = []
        """Method, path with query, body."""
        self.url = ""

    def answer(self, path: str) -> tuple[int, bytes]:
        found = self.answers.get(urlsplit(path).path)
        if found is None:
            return 404, b"not here"
        whole = json.dumps(found).encode()
        faults = {
            "empty": (200, json.dumps(_emptied(found)).encode()),
            "rubbish": (200, b"<html>please log in</html>"),
            "truncated": (200, whole[: len(whole) // 2]),
            "error": (500, b'{"error": "out of order"}'),
            "other": (200, b'{"status": "ok", "data": [1, 2, 3]}'),
        }
        return faults.get(self.fault, (200, whole))


@contextmanager
def serving_sources(answers: Mapping[str, Any]) -> Iterator[SourceServer]:
    server = SourceServer(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 the base class names it so
            pass

        def _answer(self, body: bytes) -> None:
            server.asked.append((self.command, self.path, body))
            if server.fault == "down":
                self.connection.close()
                return
            if server.fault == "slow":
                time.sleep(server.slow_s)
            status, answer = server.answer(self.path)
            with suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(answer)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    server.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def _emptied(answer: Any) -> Any:
    """The same shape without entries."""
    if isinstance(answer, list):
        return [_emptied(each) for each in answer] if answer and "universe" in answer[0] else []
    return {key: [] if isinstance(value, list) else value for key, value in answer.items()}
