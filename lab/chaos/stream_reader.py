"""Folds GET /stream and nothing else; written from docs/stream.md, with the standard library alone.

As a program it prints a line per event: `python lab/chaos/stream_reader.py http://localhost:6066 [more…] [--ticks]`.
"""

import http.client
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

READ_TIMEOUT_S = 20
"""A status comes every 5 s; a worker that says nothing for longer is left for another one."""
PAUSE_S = 0.3


class StreamReader:
    """A copy of all pools, kept by the events of whichever worker answers."""

    def __init__(
        self, urls: list[str], query: str = "", *, most_events: int | None = None, pause_s: float = PAUSE_S
    ) -> None:
        """`most_events`: of one connection, after which it pauses; None: as many as come."""
        self.pools: dict[str, dict[str, Any]] = {}
        self.ticks: dict[str, dict[int, tuple[int, int]]] = {}
        self.block: dict[str, Any] | None = None
        self.last_event_id: str | None = None
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        """Where events contradict each other."""
        self.lock = threading.Lock()
        """Held while an event is folded."""
        self.stopping = threading.Event()
        self._urls = urls
        self._query = query
        self._most_events = most_events
        self._pause_s = pause_s

    @property
    def has_ticks(self) -> bool:
        return "ticks=true" in self._query

    def run(self) -> None:
        """Until it is stopped; one worker after the other, from the last event that was read."""
        turn = 0
        while not self.stopping.is_set():
            try:
                self.read(self._urls[turn % len(self._urls)])
            except (OSError, http.client.HTTPException, ValueError):
                self.counts["connections lost"] += 1
            turn += 1
            self.stopping.wait(self._pause_s)

    def read(self, url: str) -> None:
        """One connection, until it ends."""
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=READ_TIMEOUT_S)
        resume = {"Last-Event-ID": self.last_event_id} if self.last_event_id else {}
        try:
            connection.request("GET", f"/stream?{self._query}", headers=resume)
            answer = connection.getresponse()
            if answer.status != 200:
                self.counts[f"answers {answer.status}"] += 1
                return
            for count, (name, event_id, data) in enumerate(events(answer), 1):
                if self.stopping.is_set():
                    return
                with self.lock:
                    self.fold(name, json.loads(data))
                    self.last_event_id = event_id
                if count == self._most_events:
                    return
        finally:
            connection.close()

    def fold(self, name: str, event: dict[str, Any]) -> None:
        self.counts[name] += 1
        block = event["block"]
        match name:
            case "snapshot":
                self.pools, self.ticks = {}, {}
            case "block":
                if self.block and self.block["hash"] not in (block["hash"], block["parent_hash"]):
                    self.wrong.append(f"block {block} does not follow {self.block}")
            case "reorg":
                self._check_reorg(event)
            case "status":
                self._check_counts(event)
                return
            case _:
                return
        self.block = block
        for pool in event["pools"]:
            self._take(pool)
        for pool in event.get("removed", ()):
            self.pools.pop(pool, None)
            self.ticks.pop(pool, None)

    def _take(self, pool: dict[str, Any]) -> None:
        ticks = pool.pop("ticks", None)
        self.pools[pool["id"]] = pool
        if ticks is None:
            self.ticks.pop(pool["id"], None)
            return
        kept = self.ticks.setdefault(pool["id"], {})
        for tick in ticks:
            gross, net = int(tick["liquidity_gross"]), int(tick["liquidity_net"])
            if gross:
                kept[tick["tick"]] = gross, net
            else:
                kept.pop(tick["tick"], None)

    def _check_reorg(self, event: dict[str, Any]) -> None:
        dropped, ancestor = event["dropped"], event["ancestor"]
        if not dropped or dropped[0]["hash"] != (self.block or {}).get("hash"):
            self.wrong.append(f"a reorg drops {dropped}, and the last block is {self.block}")
        if dropped[-1:] and dropped[-1]["number"] != ancestor["number"] + 1:
            self.wrong.append(f"a reorg to {ancestor} drops {dropped}")
        if ancestor["hash"] != event["block"]["hash"]:
            self.wrong.append(f"a reorg to {ancestor} is as of {event['block']}")

    def _check_counts(self, event: dict[str, Any]) -> None:
        ours = Counter(pool["status"] for pool in self.pools.values())
        if event["block"] != self.block:
            self.wrong.append(f"a status is as of {event['block']}, the last event as of {self.block}")
        elif {name: ours[name] for name in ("live", "waiting")} != event["pools"]:
            self.wrong.append(f"a status counts {event['pools']}, the events make {ours}")


def events(lines: Iterator[bytes] | http.client.HTTPResponse) -> Iterator[tuple[str, str | None, str]]:
    """Name, id and data of each server-sent event; one that is cut by the end of the connection is none."""
    name, event_id = "message", None
    data: list[str] = []
    for raw in lines:
        line = raw.decode().rstrip("\r\n")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield name, event_id, "\n".join(data)
            name, event_id, data = "message", None, []
        elif field == "event":
            name = value
        elif field == "id":
            event_id = value
        elif field == "data":
            data.append(value)


def main() -> None:
    urls = [each for each in sys.argv[1:] if each != "--ticks"]
    reader = StreamReader(urls, "ticks=true" if "--ticks" in sys.argv else "")
    fold = reader.fold

    def fold_and_print(name: str, event: dict[str, Any]) -> None:
        fold(name, event)
        print(name, event["block"]["number"], event["block"]["hash"], len(reader.pools), "pools", flush=True)

    reader.fold = fold_and_print  # type: ignore[method-assign] # each event is printed too
    reader.run()


if __name__ == "__main__":
    main()
