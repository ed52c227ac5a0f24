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

    def __init__(self, log: Log, error: AbiMismatch) -> None:
        super().__init__(
            f"log {log.log_index} (transaction {log.transaction_index}) of {log.address} "
            f"has topic0 0x{log.topics[0].hex()}, but {error}"
        )


class _Row(NamedTuple):
    dex: Dex
    abi: EventAbi
    event: Callable[[Mapping[str, int]], Event]


_BY_TOPIC: Mapping[bytes, _Row] = {
    abi.topic0: _Row(dex, abi, event) for dex in DEXES for abi, event in dex.logs.items()
}
TOPICS = frozenset(_BY_TOPIC)
"""Every topic0 that is decoded."""


def decode(log: Log) -> Decoded | None:
    """None for a log that changes no state. Raises UndecodableLog where topics or data do not fit topic0."""
    row = _BY_TOPIC.get(log.topics[0]) if log.topics else None
    if row is None:
        return None
    try:
        event = row.event(decode_arguments(row.abi, log))
        return Decoded(row.dex.name, row.dex.pool_of(log), log.address, event)
    except AbiMismatch as error:
        raise UndecodableLog(log, error) from error


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
