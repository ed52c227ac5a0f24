"""The timer that asks the scraper for snapshots: repeats of unanswered requests, and audits of live pools."""

import asyncio

from app import app, configured, pool_table, processor

EVERY_S = 1.0


@app.timer(interval=EVERY_S, name="snapshot-requests")
async def request_snapshots() -> None:
    share = len(processor.partitions) / configured.partitions
    audits = processor.audits(configured.audits_per_minute / 60 * EVERY_S * share)
    again = processor.due_requests(configured.wanted_retry_s)
    await asyncio.gather(*(pool_table.send(*request) for request in [*audits, *again]))
