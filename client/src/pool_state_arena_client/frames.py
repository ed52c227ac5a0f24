"""Pools as tables of Arrow, Polars and pandas, one row per pool. Exact: integers beyond 64 bits are decimal strings."""

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pool_state_arena_client.errors import NotInstalled
from pool_state_arena_client.records import Concentrated, Pool, Reserves

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Row = dict[str, Any]


def rows(pools: Iterable[Pool], *, floats: bool = False) -> list[Row]:
    """Plain values. `floats`: big integers and prices as floats, which are not exact."""
    return [_row(pool, floats) for pool in pools]


def to_arrow(pools: Iterable[Pool], *, floats: bool = False) -> "pyarrow.Table":
    """Raises NotInstalled."""
    return _library("pyarrow", "arrow").Table.from_pylist(rows(pools, floats=floats))


def to_polars(pools: Iterable[Pool], *, floats: bool = False) -> "polars.DataFrame":
    """Raises NotInstalled."""
    frame: polars.DataFrame = _library("polars", "polars").DataFrame(
        rows(pools, floats=floats), infer_schema_length=None
    )
    return frame


def to_pandas(pools: Iterable[Pool], *, floats: bool = False) -> "pandas.DataFrame":
    """Raises NotInstalled."""
    return _library("pandas", "pandas").DataFrame(rows(pools, floats=floats))


def _row(pool: Pool, floats: bool) -> Row:
    big = float if floats else str
    reserves = pool.state if isinstance(pool.state, Reserves) else None
    concentrated = pool.state if isinstance(pool.state, Concentrated) else None
    block = pool.envelope.block if pool.envelope else None
    return {
        "id": pool.id,
        "protocol": pool.protocol,
        "status": pool.status,
        "token0": pool.token0.address,
        "token1": pool.token1.address,
        "symbol0": pool.token0.symbol,
        "symbol1": pool.token1.symbol,
        "fee": pool.fee,
        "tick_spacing": pool.tick_spacing,
        "token1_per_token0": _or_none(pool.price.token1_per_token0, big),
        "token0_per_token1": _or_none(pool.price.token0_per_token1, big),
        "reserve0": _or_none(reserves and reserves.reserve0, big),
        "reserve1": _or_none(reserves and reserves.reserve1, big),
        "sqrt_price_x96": _or_none(concentrated and concentrated.sqrt_price_x96, big),
        "tick": concentrated.tick if concentrated else None,
        "liquidity": _or_none(concentrated and concentrated.liquidity, big),
        "block": block.number if block else None,
    }


def _or_none(value: object, convert: type[str] | type[float]) -> str | float | None:
    return None if value is None else convert(value)  # type: ignore[arg-type]


def _library(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise NotInstalled(extra) from error
