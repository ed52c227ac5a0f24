"""Live depth of a pool: what trades of growing size move its price to. Run it with `marimo edit depth.py`."""

import marimo

app = marimo.App(width="medium")


@app.cell
def connect():
    import os

    import marimo as mo
    from pool_state_arena_client import Arena

    arena = Arena(os.environ.get("ARENA_URL", "http://localhost:6066"))
    pools = [pool for pool in arena.pools(status="live") if pool.tick_spacing and pool.price.token1_per_token0]
    return arena, mo, pools


@app.cell
def choose(mo, pools):
    names = {f"{pool.protocol} {pool.token0.symbol}/{pool.token1.symbol} {pool.id[:10]}…": pool.id for pool in pools}
    chosen = mo.ui.dropdown(names, value=next(iter(names)), label="Pool")
    refresh = mo.ui.refresh(options=["2s", "12s"], default_interval="12s", label="Again every")
    mo.hstack([chosen, refresh])
    return chosen, refresh


@app.cell
def read(arena, chosen, refresh):
    refresh.value
    depth = arena.depth(chosen.value, points=50)
    block = depth.envelope.block
    return block, depth


@app.cell
def show(block, depth, mo):
    rows = [
        {
            "sells": side,
            "amount_in": str(point.amount_in),
            "amount_out": str(point.amount_out),
            "price after": float(point.price_after) if point.price_after is not None else None,
            "tick after": point.tick_after,
        }
        for side, points in (("token0", depth.token0_in), ("token1", depth.token1_in))
        for point in points
    ]
    mo.vstack([mo.md(f"As of block **{block.number}** `{block.hash[:12]}…`, price {depth.price}"), mo.ui.table(rows)])
    return (rows,)


if __name__ == "__main__":
    app.run()
