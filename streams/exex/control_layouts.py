"""Every frame of the control protocol, field by field; the rows of pools are what each DEX declares. Pure."""

from typing import Any, NamedTuple

import msgspec

from protocols.dex import Dex, UpdateType
from protocols.registry import DEXES
from protocols.types import Event, PriceState, ProtocolName
from streams.exex.bincode import Layout
from streams.exex.control_messages import BeginBlock, EndBlock, Ping, Pong, ReorgComplete

UPDATE_TYPES: tuple[UpdateType, ...] = ("swap", "mint", "burn")
RETIRED_UPDATES = (0, 1)
OTHER_DEX_UPDATES = range(6, 22)
OTHER_DEX_PROTOCOLS = range(3, 9)

PLAIN: dict[int, tuple[Layout, type[BeginBlock | EndBlock | Ping | Pong | ReorgComplete]]] = {
    1: (
        Layout(
            "BeginBlock",
            "tag=1:u32 stream_seq:u64 block_number:u64 block_timestamp:u64 base_fee_per_gas:u64 is_revert:bool",
        ),
        BeginBlock,
    ),
    3: (Layout("EndBlock", "tag=3:u32 stream_seq:u64 block_number:u64 num_updates:u64"), EndBlock),
    4: (Layout("Ping", "tag=4:u32"), Ping),
    5: (Layout("Pong", "tag=5:u32"), Pong),
    8: (Layout("ReorgComplete", "tag=8:u32 stream_seq:u64 final_tip_block:u64"), ReorgComplete),
}
"""By the wire's tag of ControlMessage."""

_OLD = "tag=6:u32 stream_seq:u64 old_first:some old_last:some old_count:u64"
REORG_START = Layout("ReorgStart", f"{_OLD} new_first:some new_last:some new_count:u64")
PURE_REVERT = Layout("ReorgStart (pure revert)", f"{_OLD} new_first:none new_last:none new_count=0:u64")

_ADDRESS, _POOL_ID = "identifier=0:u32 pool:address", "identifier=1:u32 pool:pool_id"
_UPDATE = "tag=2:u32 stream_seq:u64"
_PLACE = "block_number:u64 block_timestamp:u64 tx_index:u64 log_index:u64 is_revert:bool"
_UPDATE_OF_ANY = f"protocol:u32 type:u32[0,1,2] {_PLACE} update:u32"
UPDATE_OF_ADDRESS = Layout("PoolUpdate", f"{_UPDATE} {_ADDRESS} {_UPDATE_OF_ANY}")
UPDATE_OF_POOL_ID = Layout("PoolUpdate", f"{_UPDATE} {_POOL_ID} {_UPDATE_OF_ANY}")
"""What all updates begin with."""

_FINAL = "tag=7:u32 stream_seq:u64 final_tip_block:u64 final_tip_timestamp:u64"
FLUID_FINAL = Layout("FluidStateFinal", f"{_FINAL} update=1:u32 {_ADDRESS} " + "state:u128 " * 10)
FLUID_FINAL_TAG = 1
SLOT0_FINAL_TAG = 0
_SLOT0 = "protocol:u32 sqrt_price_x96:u256 liquidity:u128 tick:i32"
SLOT0_FINAL_OF_ANY = (
    Layout("Slot0Final", f"{_FINAL} update=0:u32 {_ADDRESS} {_SLOT0}"),
    Layout("Slot0Final", f"{_FINAL} update=0:u32 {_POOL_ID} {_SLOT0}"),
)
"""By the tag of the pool's identifier. Ticks of Ekubo go beyond an int24."""


class Row(NamedTuple):
    """An update or an epilogue of a DEX: its layout, and the record that its last fields make."""

    layout: Layout
    protocol: ProtocolName
    wire_protocol: int
    identifier: int
    record: type[Event | PriceState]
    fields: tuple[str, ...]
    """Of the record, in wire order."""
    positions: tuple[int, ...]
    """Of the record's fields among the wire's."""

    def make(self, values: list[Any]) -> Any:
        return self.record(*[values[position] for position in self.positions])

    def values(self, record: msgspec.Struct) -> tuple[Any, ...]:
        return tuple(getattr(record, name) for name in self.fields)

    def is_of(self, payload: bytes) -> bool:
        """Whether a frame of the row's tag and identifier is of its DEX, by the protocol where the frame has one."""
        at = self.layout.offset_of("protocol")
        return at is None or int.from_bytes(payload[at : at + 4], "little") == self.wire_protocol


def _update_rows(dex: Dex) -> dict[int, Row]:
    if dex.wire is None:
        return {}
    rows = {}
    for update in dex.wire.updates:
        types = ",".join(str(UPDATE_TYPES.index(each)) for each in update.update_types)
        layout = Layout(
            update.name,
            f"{_UPDATE} {_identifier(dex)} protocol={dex.wire.protocol}:u32 type:u32[{types}] {_PLACE} "
            f"update={update.tag}:u32 {update.fields}",
        )
        rows[update.tag] = _row(dex, dex.wire.protocol, layout, update.event, update.fields)
    return rows


def _final_row(dex: Dex) -> tuple[int, Row] | None:
    if dex.wire is None:
        return None
    final = dex.wire.final
    protocol = f"protocol={dex.wire.protocol}:u32 " if final.has_protocol else ""
    layout = Layout(final.name, f"{_FINAL} update={final.tag}:u32 {_identifier(dex)} {protocol}{final.fields}")
    return final.tag, _row(dex, dex.wire.protocol, layout, dex.model.price, final.fields)


def _row(dex: Dex, protocol: int, layout: Layout, record: type[Event | PriceState], fields: str) -> Row:
    names = tuple(field.partition(":")[0] for field in fields.split())
    positions = tuple(names.index(field) for field in record.__struct_fields__)
    return Row(layout, dex.name, protocol, int(dex.is_singleton), record, names, positions)


def _identifier(dex: Dex) -> str:
    return _POOL_ID if dex.is_singleton else _ADDRESS


UPDATES: dict[int, Row] = {tag: row for dex in DEXES for tag, row in _update_rows(dex).items()}
"""By the wire's tag of PoolUpdate."""
_ON_WIRE = frozenset(row.record for row in UPDATES.values())
UPDATES_BY_EVENT = {(row.protocol, row.record): row for row in UPDATES.values()}
FINALS: tuple[tuple[int, Row], ...] = tuple(final for dex in DEXES if (final := _final_row(dex)) is not None)
"""With the wire's tag of ReorgEpilogueUpdate."""
FINALS_BY_PROTOCOL = {row.protocol: row for _, row in FINALS}


def is_on_wire(event: Event) -> bool:
    """Whether a feed sends such an event; the first price of a pool, for one, is on no wire."""
    return type(event) in _ON_WIRE
