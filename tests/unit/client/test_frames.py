"""Pools as tables: exact unless floats are asked for."""

import sys
from decimal import Decimal

import polars
import pyarrow
import pytest
from pool_state_arena_client.errors import NotInstalled
from pool_state_arena_client.frames import to_arrow, to_pandas, to_polars
from pool_state_arena_client.records import Concentrated, Pool, Price, Reserves, Token

TOKEN = Token("0xa")
POOLS = [
    Pool(
        id="0x1",
        protocol="v2",
        status="live",
        token0=Token("0xa", 18, "A"),
        token1=Token("0xb", 6),
        price=Price(Decimal("2500.5"), Decimal("0.0004")),
        state=Reserves(2**100, 0),
    ),
    Pool(
        id="0x2", protocol="v3", status="live", token0=Token("0xa"), token1=Token("0xb"), state=Concentrated(1, -5, 7)
    ),
    Pool(id="0x3", protocol="v3", status="waiting", token0=TOKEN, token1=TOKEN),
]


def test_big_integers_and_prices_are_decimal_strings() -> None:
    table = to_arrow(POOLS)

    assert isinstance(table, pyarrow.Table)
    assert table["reserve0"].to_pylist() == [str(2**100), None, None]
    assert table["reserve1"].to_pylist() == ["0", None, None]
    assert table["token1_per_token0"].to_pylist() == ["2500.5", None, None]
    assert table["tick"].to_pylist() == [None, -5, None]


def test_floats_come_where_asked_for() -> None:
    frame = to_polars(POOLS, floats=True)

    assert frame["reserve0"].to_list() == [float(2**100), None, None]
    assert frame["token0_per_token1"].dtype == polars.Float64


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(NotInstalled, match=r"pip install pool-state-arena-client\[pandas\]"):
        to_pandas(POOLS)
