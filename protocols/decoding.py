"""Raw logs to events: which log of which protocol changes which pool."""

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import NamedTuple

from protocols import v2, v3, v4
from protocols.abi import AbiMismatch, Declaration, decode_arguments
from protocols.events import Event
from protocols.types import Log, PoolId, ProtocolName

PROTOCOLS = (
    v2,
    v3,
    v4,
)


class Decoded(NamedTuple):
    protocol: ProtocolName
    pool: PoolId
    emitter: str
    """The pool itself for V2 and V3, the PoolManager for V4; lower-case 0x hex."""
    event: Event


class UndecodableLog(Exception):
    def __init__(self, log: Log, error: AbiMismatch) -> None:
        super().__init__(
            f"log {log.log_index} (transaction {log.transaction_index}) of {log.address} "
            f"has topic0 0x{log.topics[0].hex()}, but {error}"
        )


_BY_TOPIC: Mapping[bytes, tuple[ModuleType, Declaration]] = {
    declared.topic0: (protocol, declared) for protocol in PROTOCOLS for declared in protocol.EVENTS
}
TOPICS = frozenset(_BY_TOPIC)
"""Every topic0 that is decoded."""


def decode(log: Log) -> Decoded | None:
    """None for a log that changes no state. Raises UndecodableLog where topics or data do not fit topic0."""
    if not log.topics or log.topics[0] not in _BY_TOPIC:
        return None
    protocol, declared = _BY_TOPIC[log.topics[0]]
    try:
        event = protocol.EVENTS[declared](decode_arguments(declared, log))
        return Decoded(protocol.NAME, protocol.pool_of(log), log.address, event)
    except AbiMismatch as error:
        raise UndecodableLog(log, error) from error


def decode_listed(
    logs: Iterable[Log], pools: Mapping[PoolId, ProtocolName | None], managers: Mapping[PoolId, str]
) -> list[tuple[Log, Decoded]]:
    """The logs that change a listed pool, in log order; those of other contracts are not even looked into.

    `pools` maps a pool to its protocol, None where the list does not say; `managers` a V4 pool to the PoolManager
    whose logs alone count. Raises UndecodableLog for a log of a listed pool that does not fit its topic0.
    """
    ours = (log for log in logs if _is_listed(log, pools, managers))
    decoded = [(log, event) for log in ours if (event := decode(log)) is not None]
    return sorted(decoded, key=lambda pair: pair[0].log_index)


def _is_listed(log: Log, pools: Mapping[PoolId, ProtocolName | None], managers: Mapping[PoolId, str]) -> bool:
    if not log.topics or log.topics[0] not in _BY_TOPIC:
        return False
    protocol, _ = _BY_TOPIC[log.topics[0]]
    try:
        pool = protocol.pool_of(log)
    except AbiMismatch:
        return False
    if pool not in pools or pools[pool] not in (None, protocol.NAME):
        return False
    return pool == log.address or managers.get(pool) == log.address
