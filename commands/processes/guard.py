"""A watchdog process: ends a parent's child processes when the parent is killed and cannot end them itself."""

import subprocess
import sys


class Guard:
    """A small process that reads our pipe; when the pipe closes, it kills the process groups that are still watched.

    It works on every POSIX system, unlike Linux's parent-death signal, and reaches the children's children.
    """

    PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    group = int(line)
    groups.add(group) if group > 0 else groups.discard(-group)
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""

    def __init__(self) -> None:
        command = [sys.executable, "-c", self.PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, text=True)

    def watch(self, group: int) -> None:
        """`group`: the id of a child that leads a session of its own."""
        self._send(group)

    def release(self, group: int) -> None:
        """It has ended."""
        self._send(-group)

    def close(self) -> None:
        """Kills what is still watched."""
        self._process.communicate()

    def _send(self, number: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
