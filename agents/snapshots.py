"""Where they start from, and whether they are right: topic snapshots into the pools."""

import faust
from mode import CrashingSupervisor

from app import app, pools, source


@app.agent(source("snapshots"), name="snapshots", supervisor_strategy=CrashingSupervisor)
async def follow_snapshots(chunks: faust.StreamT[bytes]) -> None:
    async for chunk in chunks.events():
        await pools.accept(chunk)
