"""What workers answer over HTTP."""

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

Answer = dict[str, Any]
UNPROCESSABLE = 422


class WorkerClient:
    """One worker's HTTP interface, at a URL without a trailing slash."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Answer | None:
        """None where no worker answers, or none can answer now; a refused quote is an answer."""
        return self._asked(Request(self.url + path))

    def post(self, path: str, body: object) -> Answer | None:
        """Likewise."""
        return self._asked(Request(self.url + path, data=json.dumps(body).encode()))

    def _asked(self, request: Request) -> Answer | None:
        try:
            with urlopen(request, timeout=10) as answer:
                return dict(json.load(answer))
        except HTTPError as error:
            with error:
                if error.code == UNPROCESSABLE:
                    return dict(json.load(error))
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
