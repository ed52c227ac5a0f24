"""Pools that still wait for their snapshot ask again, and audits that are due are asked for: topic wanted."""

import asyncio

from app import app, configured, folder, ownership, pools


@app.timer(interval=1.0, name="wishes")
async def ask_again() -> None:
    ownership.look()
    await asyncio.gather(*(pools.send(*wish) for wish in list(folder.wishes(configured.wanted_retry_s))))
