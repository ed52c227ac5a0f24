"""What pools ask of the scraper by the clock: the snapshot that has not come yet, and audits. Topic wanted."""

import asyncio

from app import app, configured, folder, ownership, pools

EVERY_S = 1.0


@app.timer(interval=EVERY_S, name="wishes")
async def ask() -> None:
    ownership.look()
    share = len(folder.partitions) / configured.partitions
    audits = folder.audits(configured.audits_per_minute / 60 * EVERY_S * share)
    again = folder.wishes(configured.wanted_retry_s)
    await asyncio.gather(*(pools.send(*wish) for wish in [*audits, *again]))
