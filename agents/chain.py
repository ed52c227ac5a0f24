"""What happens to them: topic chain into the pools."""

import faust
from mode import CrashingSupervisor

from app import app, pools, source


@app.agent(source("chain"), name="chain", supervisor_strategy=CrashingSupervisor)
async def follow_chain(chunks: faust.StreamT[bytes]) -> None:
    async for chunk in chunks.events():
        await pools.accept(chunk)
