"""A reorg seen from the client: the events of the stream, and the mirror before and after. `marimo edit reorg.py`."""

import marimo

app = marimo.App(width="medium")


@app.cell
def settings():
    import os

    import marimo as mo
    from pool_state_arena_client import Arena
    from pool_state_arena_client.stream.events import BlockApplied, Reorganised, Snapshot

    url = os.environ.get("ARENA_URL", "http://localhost:6066")
    most_events = int(os.environ.get("ARENA_EVENTS", "40"))
    return Arena, BlockApplied, Reorganised, Snapshot, mo, most_events, url


@app.cell
def watch(Arena, BlockApplied, Reorganised, Snapshot, most_events, url):
    """Reads until a reorg and the block after it came, or so many events."""
    rows = []
    reorg = None
    with Arena(url) as arena:
        for number, event in enumerate(arena.stream()):
            block = event.envelope.block
            if isinstance(event, Snapshot | BlockApplied | Reorganised):
                kind = type(event).__name__
                rows.append({"event": kind, "block": block.number, "hash": block.hash, "pools": len(event.pools)})
            if reorg is not None and isinstance(event, BlockApplied):
                break
            if isinstance(event, Reorganised):
                reorg = event
            if number >= most_events:
                break
    return reorg, rows


@app.cell
def show(mo, reorg, rows):
    if reorg is None:
        verdict = mo.md("No reorg came. `make chaos` makes some.")
    else:
        dropped = ", ".join(str(block.number) for block in reorg.dropped)
        verdict = mo.md(
            f"Back to block **{reorg.ancestor.number}**: {dropped} are gone, {len(reorg.pools)} pools rewound."
        )
    mo.vstack([verdict, mo.ui.table(rows)])


if __name__ == "__main__":
    app.run()
