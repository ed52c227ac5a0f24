"""Raw logs to events: which log of which DEX changes which pool."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from protocols.abi import AbiMismatch, EventAbi, decode_arguments
from protocols.dex import Dex
from protocols.registry import DEXES, Event
from protocols.types import Log, PoolId, ProtocolName


class Decoded(NamedTuple):
    protocol: ProtocolName
    pool: PoolId
    emitter: str
    """The pool itself, or the singleton that keeps it; lower-case 0x hex."""
    event: Event


class UndecodableLog(Exception):
    """A log's topics or data do not fit its topic0."""

    def __init__(self, log: Log, fault: str) -> None:
        super().__init__(
            f"log {log.log_index} (transaction {log.transaction_index}) of {log.address} "
            f"has topic0 0x{log.topics[0].hex()}, but {fault}"
        )


class ForeignLog(UndecodableLog):
    """The pool is listed as one of a DEX whose logs it does not emit."""

    def __init__(self, log: Log, protocol: ProtocolName, emits: str) -> None:
        super().__init__(log, f"it does not follow the logs of {protocol}: it emits {emits}")


class _Row(NamedTuple):
    dex: Dex
    abi: EventAbi
    event: Callable[[Mapping[str, int]], Event]


class _ForeignRow(NamedTuple):
    dex: Dex
    emits: str


_BY_TOPIC: Mapping[bytes, _Row | _ForeignRow] = {
    abi.topic0: _Row(dex, abi, event) for dex in DEXES for abi, event in dex.logs.items()
} | {abi.topic0: _ForeignRow(dex, emits) for dex in DEXES for abi, emits in dex.foreign_logs.items()}
TOPICS = frozenset(_BY_TOPIC)
"""Every topic0 that changes a pool's state, or shows that it is not of the DEX that a list says."""


def decode(log: Log) -> Decoded | None:
    """None for a log that changes no state.

    Raises UndecodableLog where topics or data do not fit topic0, ForeignLog for a contract that only looks like a pool.
    """
    row = _BY_TOPIC.get(log.topics[0]) if log.topics else None
    if row is None:
        return None
    if isinstance(row, _ForeignRow):
        raise ForeignLog(log, row.dex.name, row.emits)
    try:
        event = row.event(decode_arguments(row.abi, log))
        return Decoded(row.dex.name, row.dex.pool_of(log), log.address, event)
    except AbiMismatch as error:
        raise UndecodableLog(log, str(error)) from error


def decode_listed(
    logs: Iterable[Log], pools: Mapping[PoolId, ProtocolName | None], managers: Mapping[PoolId, str]
) -> list[tuple[Log, Decoded]]:
    """The logs that change a listed pool, in log order; those of other contracts are not even looked into.

    `pools` maps a pool to its protocol, None where the list does not say; `managers` a singleton's pool to the
    contract whose logs alone count. Raises UndecodableLog for a log of a listed pool that does not fit its topic0.
    """
    ours = (log for log in logs if _is_listed(log, pools, managers))
    decoded = [(log, event) for log in ours if (event := decode(log)) is not None]
    return sorted(decoded, key=lambda pair: pair[0].log_index)


def _is_listed(log: Log, pools: Mapping[PoolId, ProtocolName | None], managers: Mapping[PoolId, str]) -> bool:
    row = _BY_TOPIC.get(log.topics[0]) if log.topics else None
    if row is None:
        return False
    try:
        pool = row.dex.pool_of(log)
    except AbiMismatch:
        return False
    if pool not in pools or pools[pool] not in (None, row.dex.name):
        return False
    return pool == log.address or managers.get(pool) == log.address
