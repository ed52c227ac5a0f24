"""What workers answer over HTTP."""

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

Answer = dict[str, Any]


class WorkerClient:
    """One worker's HTTP interface, at a URL without a trailing slash."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Answer | None:
        """None where no worker answers, or none can answer now."""
        try:
            with urlopen(self.url + path, timeout=10) as answer:
                return dict(json.load(answer))
        except HTTPError as error:
            with error:
                if error.code not in (404, 503):
                    raise
            return None
        except (URLError, OSError):
            return None

    def status(self) -> Answer:
        return self.get("/status/") or {"head": None, "pools": {}, "reasons": {}, "partitions": []}

    def heads(self) -> set[str]:
        """The hashes of all partitions' heads; of one that has none, an empty string."""
        return {row["head"]["hash"] if row["head"] else "" for row in self.status()["partitions"]}

    def waiting_pools(self) -> str:
        """A line for each pool that is not live, with the reason."""
        answer = self.get("/pools/?status=waiting") or {"pools": []}
        return "\n".join(
            f"{pool['protocol']} {pool['id']} waits: {pool['reason']['kind']} {pool['reason']['detail']}"
            for pool in answer["pools"]
        )
