"""Limits repeated log lines: aiokafka logs the same one a hundred times a second while a broker is down."""

import logging
import time

EVERY_S = 10.0


class OncePerInterval(logging.Filter):
    """Lets a message through once per interval, whatever its arguments."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.INFO:
            return True
        now = time.monotonic()
        line = record.pathname, record.lineno
        if now - self._last.get(line, -self._every_s) < self._every_s:
            return False
        self._last[line] = now
        return True


def throttle(parent: logging.Logger) -> None:
    """A logger's filter does not see its children's records, so each of them gets one of its own."""
    prefix = f"{parent.name}."
    for name in [parent.name, *(each for each in logging.root.manager.loggerDict if each.startswith(prefix))]:
        logger = logging.getLogger(name)
        if not any(isinstance(each, OncePerInterval) for each in logger.filters):
            logger.addFilter(OncePerInterval())
