"""Compares a replay with what the workers' tables serve for the same block, over HTTP."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from replay.pool_line import PoolLine
from tables.views.state import FEES

Ask = Callable[[str, dict[str, str]], dict[str, Any]]
"""Path and query to the answer; raises what cannot be answered."""


def differences(lines: Sequence[PoolLine], ask: Ask) -> Iterator[str]:
    """A sentence for each field that is not the same, with both values."""
    for line in lines:
        at = {"at": str(line.block.number)} if line.status == "live" else {}
        served = ask(f"/pools/{line.id}/", at)
        if served["status"] != line.status:
            yield f"{line.id}: the replay says {line.status}, the table {served['status']}"
        elif line.state is not None:
            served_block = {name: served["block"][name] for name in ("number", "hash")}
            yield from _fields(line, {"block": served_block}, "block", msgspec.to_builtins(line.block))
            for name in line.state.keys() - set(FEES):
                yield from _fields(line, served["state"], name, line.state[name])
            yield from _fields(line, ask(f"/pools/{line.id}/ticks/", at), "ticks", line.ticks)


def _fields(line: PoolLine, served: dict[str, Any], name: str, replayed: Any) -> Iterator[str]:
    if served.get(name) != replayed:
        yield f"{line.id}: {name} is {_short(replayed)} in the replay, {_short(served.get(name))} in the table"


def _short(value: Any) -> str:
    return f"{len(value)} ticks" if isinstance(value, list) else str(value)
