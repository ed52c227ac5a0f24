"""The image's health check: 0 if this container's process answers."""

import os
import sys
from urllib.error import URLError
from urllib.request import urlopen

WORKER = "worker"
TIMEOUT_S = 4.0


def address(command_line: str) -> str:
    """A worker's /healthz, of the others the metrics. `command_line` has zero bytes between arguments."""
    if WORKER in command_line.split("\0"):
        return f"http://127.0.0.1:{os.environ.get('ARENA_WEB_PORT', '6066')}/healthz"
    return f"http://127.0.0.1:{os.environ.get('ARENA_METRICS_PORT', '9100')}/metrics"


def main() -> int:
    with open("/proc/1/cmdline") as command_line:
        url = address(command_line.read())
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (URLError, OSError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
