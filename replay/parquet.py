"""A replay as Parquet files, named and typed as users of cryo know them. Needs pyarrow."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from protocols.types import Block, Event
from replay.history import EventRow, StateRow, TickRow
from replay.pool_line import PoolLine
from replay.run import Replayed

ROW_GROUP = 100_000
DATASETS = ("pool_states", "pool_ticks", "pool_events", "pools")


class NoPyarrow(Exception):
    def __init__(self) -> None:
        super().__init__("Parquet needs pyarrow, and it is not installed; `./arena setup` installs it")


class FileExists(Exception):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists; --overwrite replaces it")


class Options(NamedTuple):
    chain: str
    chain_id: int | None
    version: str
    first_block: int
    """The first whose changes are in the files."""
    hex_strings: bool
    """Ids, hashes and addresses as 0x strings instead of bytes."""


class Column(NamedTuple):
    """Integers beyond 64 bits are two columns: `x_string`, which is exact, and `x_f64` for plots."""

    name: str
    kind: str
    """binary, string, uint64, int64, big."""
    value: Callable[[Any], Any]


def file_names(chain: str, first: int, last: int) -> dict[str, str]:
    return {dataset: f"{chain}__{dataset}__{first}_to_{last}.parquet" for dataset in DATASETS}


def expect_writable(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Raises FileExists, and NoPyarrow: before anything is read."""
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise NoPyarrow from error
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExists(path)


def write(dataset: str, path: Path, rows: Sequence[Any], replayed: Replayed, options: Options) -> None:
    """Sorted, zstd, in row groups of at most 100,000; a file appears whole or not at all."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    columns, fields = {}, []
    for column in _columns(dataset, options):
        for name, kind, values in _typed(column, rows, arrow, options):
            columns[name] = arrow.array(values, kind)
            fields.append(arrow.field(name, kind))
    table = arrow.table(columns, arrow.schema(fields, metadata=_metadata(replayed, options)))
    part = path.with_name(path.name + ".part")
    parquet.write_table(table, part, compression="zstd", row_group_size=ROW_GROUP)
    part.replace(path)


def rows_of(dataset: str, replayed: Replayed) -> list[Any]:
    """Ascending by block, then pool, then tick or event."""
    match dataset:
        case "pools":
            return list(replayed.lines)
        case "pool_states" if not replayed.history:
            return [line for line in replayed.lines if line.state is not None]
        case "pool_ticks" if not replayed.history:
            return [(line, tick) for line in replayed.lines for tick in line.ticks or ()]
        case "pool_states":
            states = [row for each in replayed.history for row in each.states]
            return sorted(states, key=lambda row: (row.block.number, row.pool))
        case "pool_ticks":
            ticks = [row for each in replayed.history for row in each.ticks]
            return sorted(ticks, key=lambda row: (row.block.number, row.pool, row.tick.tick))
        case _:
            events = [row for each in replayed.history for row in each.events]
            return sorted(events, key=lambda row: (row.block.number, row.pool, row.event_index))


def _columns(dataset: str, options: Options) -> list[Column]:
    chain_id = Column("chain_id", "uint64", lambda _: options.chain_id)
    if dataset == "pools":
        return [*_POOL_COLUMNS, chain_id]
    block = [
        Column("block_number", "uint64", lambda row: _block(row).number),
        Column("block_hash", "binary", lambda row: _block(row).hash),
        Column("pool", "binary", _pool),
    ]
    return [*block, *_OWN_COLUMNS[dataset], chain_id]


def _block(row: Any) -> Block:
    block: Block = (row[0] if type(row) is tuple else row).block
    return block


def _pool(row: Any) -> str:
    match row:
        case PoolLine():
            return row.id
        case (PoolLine() as line, _):
            return line.id
    return str(row.pool)


def _state(name: str) -> Callable[[StateRow | PoolLine], int | None]:
    def value(row: StateRow | PoolLine) -> int | None:
        if isinstance(row, StateRow):
            return getattr(row.price, name, None)
        found = (row.state or {}).get(name)
        return None if found is None else int(found)

    return value


def _tick(name: str) -> Callable[[Any], int]:
    def value(row: TickRow | tuple[PoolLine, Mapping[str, Any]]) -> int:
        return int(getattr(row.tick, name)) if isinstance(row, TickRow) else int(row[1][name])

    return value


def _event(name: str) -> Callable[[EventRow], int | None]:
    return lambda row: getattr(row.event, name, None)


def _event_name(event: Event) -> str:
    return str(event.__struct_config__.tag)


_POOL_COLUMNS = (
    Column("pool", "binary", lambda line: line.id),
    Column("protocol", "string", lambda line: line.protocol),
    Column("token0", "binary", lambda line: line.pool.token0.address),
    Column("token1", "binary", lambda line: line.pool.token1.address),
    Column("fee", "int64", lambda line: line.pool.fee),
    Column("tick_spacing", "int64", lambda line: line.pool.tick_spacing),
    Column("factory", "binary", lambda line: line.pool.factory),
    Column("status", "string", lambda line: line.status),
    Column("reason", "string", lambda line: line.reason and ": ".join(filter(None, line.reason.values()))),
    Column("digest", "string", lambda line: line.digest),
)
_OWN_COLUMNS: Mapping[str, Sequence[Column]] = {
    "pool_states": (
        Column("reserve0", "big", _state("reserve0")),
        Column("reserve1", "big", _state("reserve1")),
        Column("sqrt_price_x96", "big", _state("sqrt_price_x96")),
        Column("tick", "int64", _state("tick")),
        Column("liquidity", "big", _state("liquidity")),
    ),
    "pool_ticks": (
        Column("tick", "int64", _tick("tick")),
        Column("liquidity_gross", "big", _tick("liquidity_gross")),
        Column("liquidity_net", "big", _tick("liquidity_net")),
    ),
    "pool_events": (
        Column("event_index", "uint64", lambda row: row.event_index),
        Column("event", "string", lambda row: _event_name(row.event)),
        Column("reserve0", "big", _event("reserve0")),
        Column("reserve1", "big", _event("reserve1")),
        Column("sqrt_price_x96", "big", _event("sqrt_price_x96")),
        Column("tick", "int64", _event("tick")),
        Column("liquidity", "big", _event("liquidity")),
        Column("tick_lower", "int64", _event("tick_lower")),
        Column("tick_upper", "int64", _event("tick_upper")),
        Column("liquidity_delta", "big", _event("delta")),
    ),
}


def _typed(column: Column, rows: Sequence[Any], arrow: Any, options: Options) -> list[tuple[str, Any, list[Any]]]:
    values = [column.value(row) for row in rows]
    if column.kind == "big":
        exact = [None if value is None else str(value) for value in values]
        rounded = [None if value is None else float(value) for value in values]
        return [(f"{column.name}_string", arrow.string(), exact), (f"{column.name}_f64", arrow.float64(), rounded)]
    if column.kind == "binary" and not options.hex_strings:
        raw = [None if value is None else bytes.fromhex(value[2:]) for value in values]
        return [(column.name, arrow.binary(), raw)]
    kinds = {"uint64": arrow.uint64(), "int64": arrow.int64()}
    return [(column.name, kinds.get(column.kind, arrow.string()), values)]


def _metadata(replayed: Replayed, options: Options) -> dict[str, str]:
    return {
        "chain": options.chain,
        "chain_id": str(options.chain_id or ""),
        "first_block_number": str(options.first_block),
        "block_number": str(replayed.block.number),
        "block_hash": replayed.block.hash,
        "digest": replayed.digest,
        "pool_state_arena": options.version,
    }
