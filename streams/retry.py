"""The one retry policy: exponential backoff with jitter, on stamina.

A connection that is kept for ever:

    retries = Retries("The feed", on=OSError, wait_max_s=5.0)
    async for attempt in retries:
        with attempt:
            reader, writer = await asyncio.open_unix_connection(path)
            retries.reset()
            await listen(reader, writer)
            raise ConnectionError("the feed closed the connection")

The first failure in a row, and each new cause, is one warning with the delay; a repeated cause is logged at debug, also
where only its numbers differ (blocks, hashes, request ids), and `reset` after a failure logs that it works again. An
attempt that raises nothing ends the loop; errors other than `on` and cancellation pass through.
`stamina.set_testing(True, attempts=...)` takes the delays out of a test.
"""

import logging
import random
import re
import time
from collections.abc import AsyncIterator, Callable

import stamina
from prometheus_client import Counter

log = logging.getLogger(__name__)

RETRIES = Counter("arena_retries_total", "Attempts that failed and are tried again", ["what"])

Retried = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
"""The errors after which it is tried again: classes, or a predicate."""

_NUMBER = re.compile(r"0x[0-9a-fA-F]*|\b[0-9a-fA-F]*[0-9][0-9a-fA-F]*\b")
"""Decimal or hexadecimal."""

stamina.instrumentation.set_on_retry_hooks(())  # its own log line says neither what is retried nor why


class Backoff:
    """Delays that double from `wait_initial_s` to `wait_max_s`, each shortened at random by up to a half."""

    def __init__(self, wait_initial_s: float = 0.5, wait_max_s: float = 30.0) -> None:
        self.wait_max_s = wait_max_s
        self._wait_initial_s = wait_initial_s
        self._next_s = wait_initial_s

    def next_s(self) -> float:
        delay_s, self._next_s = self._next_s, min(2 * self._next_s, self.wait_max_s)
        return delay_s * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._next_s = self._wait_initial_s


class Retries:
    """Iterates over attempts, with a delay after each that fails.

    `what` names the other side in the log and in the metric: a few fixed words, no address. With `attempts`, the last
    attempt's error is raised. An error with an attribute `retry_after_s` (a server that says when to come again) is
    waited for that long at least. Failures of less than `quiet_s` in a row are logged at debug.
    """

    def __init__(  # noqa: PLR0913  options by keyword
        self,
        what: str,
        on: Retried,
        *,
        wait_initial_s: float = 0.5,
        wait_max_s: float = 30.0,
        attempts: int | None = None,
        quiet_s: float = 0.0,
    ) -> None:
        self._what = what
        self._on = on
        self._attempts = attempts
        self._backoff = Backoff(wait_initial_s, wait_max_s)
        self._quiet_s = quiet_s
        self._failing_since_s: float | None = None
        self._warned_cause: str | None = None

    def __aiter__(self) -> AsyncIterator[stamina.Attempt]:
        return stamina.retry_context(on=self._delay_s, attempts=self._attempts, timeout=None).__aiter__()

    def reset(self) -> None:
        """Call it when the other side works: the next failure waits `wait_initial_s` again."""
        self._backoff.reset()
        if self._warned_cause is not None:
            log.info("%s works again", self._what)
        self._warned_cause = self._failing_since_s = None

    def _delay_s(self, error: Exception) -> float | bool:
        if not self._is_retried(error):
            return False
        RETRIES.labels(self._what).inc()
        delay_s = max(self._backoff.next_s(), getattr(error, "retry_after_s", None) or 0.0)
        cause = str(error) or type(error).__name__
        without_numbers = _NUMBER.sub("#", cause)
        level = logging.DEBUG if without_numbers == self._warned_cause or self._is_quiet() else logging.WARNING
        if level == logging.WARNING:
            self._warned_cause = without_numbers
        rest = f", later every {self._backoff.wait_max_s:g} s at most" if self._attempts is None else ""
        log.log(level, "%s: %s; trying again in %.1f s%s", self._what, cause, delay_s, rest)
        return delay_s

    def _is_quiet(self) -> bool:
        now_s = time.monotonic()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        return now_s - self._failing_since_s < self._quiet_s

    def _is_retried(self, error: Exception) -> bool:
        if isinstance(self._on, type | tuple):
            return isinstance(error, self._on)
        return isinstance(error, Exception) and self._on(error)
