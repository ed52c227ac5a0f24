"""Which pools matter: topic whitelist into the pools."""

import faust
from mode import CrashingSupervisor

from app import app, pools, source


@app.agent(source("whitelist"), name="whitelist", supervisor_strategy=CrashingSupervisor)
async def follow_whitelist(chunks: faust.StreamT[bytes]) -> None:
    async for chunk in chunks.events():
        await pools.accept(chunk)
