"""Topic `updates`, keyed by pool: what a worker changed, as absolute values, for programs. Pure.

Per partition a block is its changed pools, then the `head` with their number; a reorg likewise. What changes between
two blocks (listings, snapshots) is followed by the head of the last block again. Records are written at least once:
after a crash the blocks after the last commit come again, and `epoch` tells a worker's late write from its successor's.
"""

import msgspec

from protocols.types import Block, Natural, PoolId
from streams.json_input import InvalidJson, decode_json
from streams.kafka.records import Header, Undecodable


class PoolChanged(msgspec.Struct, frozen=True, tag="pool"):
    block: Block | None
    """The pool is as of its end. None before the partition's first block, or after a gap."""
    epoch: Natural
    """Of the writer; a record whose epoch is lower than that of one before it is ignored."""
    pool: msgspec.Raw
    """As `GET /pools/{id}/` answers, without the envelope."""
    ticks: msgspec.Raw = msgspec.Raw(b"null")
    """Those that changed, `liquidity_gross` "0": gone; all of a pool that was waiting; null while it waits."""


class PoolRemoved(msgspec.Struct, frozen=True, tag="removed"):
    """The pool is off the list."""

    block: Block | None
    epoch: Natural
    id: PoolId


class BlockClosed(msgspec.Struct, frozen=True, tag="head"):
    """To its partition: the pools that changed came before it."""

    block: Header | None
    pools: Natural
    """How many records `pool` and `removed` it closes."""
    epoch: Natural
    safe: Natural | None = None
    finalized: Natural | None = None
    """Number of the newest finalized block; None where the node does not say."""
    chain_id: Natural | None = None


class ReorgClosed(msgspec.Struct, frozen=True, tag="reorg"):
    """To its partition: the blocks after `ancestor` are gone, and the pools before it are as of the ancestor."""

    ancestor: Header
    dropped: tuple[Block, ...]
    """Ascending."""
    pools: Natural
    epoch: Natural


Closing = BlockClosed | ReorgClosed
UpdatesRecord = PoolChanged | PoolRemoved | Closing

encode_updates_record = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[UpdatesRecord] = msgspec.json.Decoder(UpdatesRecord)


def decode_updates_record(value: bytes) -> UpdatesRecord:
    """Raises Undecodable."""
    try:
        return decode_json(_decoder, value)
    except InvalidJson as error:
        raise Undecodable(str(error)) from error
