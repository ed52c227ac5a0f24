"""The events of the stream as bytes: one encoding per event and filter, for all readers of that filter."""

import time
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from protocols.types import Block, PoolId
from streams.kafka.records import Header
from tables.views.envelope import Envelope, ServedChain, block_view
from web.stream.chain.changes import Entry
from web.stream.chain.timeline import Step
from web.stream.filters import Filter

encode = msgspec.json.encode


class EnvelopeFacts(NamedTuple):
    """What the envelope says beside the block."""

    served: ServedChain
    chain_id: int | None
    finalized: int | None


class PoolsAt(NamedTuple):
    """At the end of a block, those that match a filter."""

    head: Header
    pools: list[Entry]


def snapshot_event(facts: EnvelopeFacts, found: PoolsAt, wanted: Filter, ticks: Mapping[PoolId, bytes]) -> bytes:
    """`ticks`: where they are wanted, all of the pools that are live."""
    views = [_view(each, ticks.get(each.id), wanted) for each in found.pools]
    return _event("snapshot", facts, found.head, b'"pools":[' + b",".join(views) + b"]")


def step_event(facts: EnvelopeFacts, step: Step, wanted: Filter) -> bytes:
    """Of a block or a reorg."""
    views: list[bytes] = []
    removed: list[PoolId] = []
    for pool, change in step.changes.items():
        if change.entry is not None and wanted.matches(change.entry):
            views.append(_view(change.entry, change.ticks, wanted))
        elif _was_sent(step, pool, wanted):
            removed.append(pool)
    fields = b'"pools":[' + b",".join(views) + b'],"removed":' + encode(removed)
    if step.kind == "reorg":
        ancestor = Block(step.head.number, step.head.hash)
        dropped = [Block(header.number, header.hash) for header in step.dropped]
        fields = b'"ancestor":' + encode(ancestor) + b',"dropped":' + encode(dropped) + b"," + fields
    return _event(step.kind, facts, step.head, fields)


def status_event(facts: EnvelopeFacts, found: PoolsAt, newest: int | None) -> bytes:
    """`newest`: the highest head of any partition."""
    lag = max(0, (newest or found.head.number) - found.head.number)
    live = sum(entry.is_live for entry in found.pools)
    fields = b'"pools":{"live":%d,"waiting":%d},"lag_blocks":%d' % (live, len(found.pools) - live, lag)
    return _event("status", facts, found.head, fields)


def closed_event(facts: EnvelopeFacts, head: Header, sentence: str) -> bytes:
    """Without an id: events up to the head may have been dropped, so that it is no place to resume from."""
    _, _, event = _event("closed", facts, head, b'"error":' + encode(sentence)).partition(b"data: ")
    return b"event: closed\ndata: " + event


def _event(name: str, facts: EnvelopeFacts, head: Header, fields: bytes) -> bytes:
    age_s = max(0.0, round(time.time() - head.timestamp, 3))
    configured = facts.served.configured_id
    chain_id = facts.chain_id if configured is None else configured
    envelope = encode(Envelope(facts.served.name, chain_id, block_view(head), age_s, facts.finalized))
    id_ = f"{head.number}-{head.hash}"
    return b"event: %b\nid: %b\ndata: %b,%b}\n\n" % (name.encode(), id_.encode(), envelope[:-1], fields)


def _view(entry: Entry, ticks: bytes | None, wanted: Filter) -> bytes:
    if not wanted.ticks:
        return entry.view
    return entry.view[:-1] + b',"ticks":' + (ticks if ticks is not None else b"null") + b"}"


def _was_sent(step: Step, pool: PoolId, wanted: Filter) -> bool:
    """Of a pool that is not sent now; where several steps are one, it is not known what it was before."""
    if pool not in step.before:
        return step.changes[pool].entry is None and (wanted.pools is None or pool in wanted.pools)
    before = step.before[pool]
    return before is not None and wanted.matches(before)
