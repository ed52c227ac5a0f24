"""The agents: each chunk of a source topic goes to the task of its partition in the pool table."""

import faust
from mode import CrashingSupervisor

from app import app, names, pool_table, source


async def follow(chunks: faust.StreamT[bytes]) -> None:
    async for chunk in chunks.events():
        pool_table.accept(chunk)


for name, topic in (("whitelist", names.whitelist), ("chain", names.chain), ("snapshots", names.snapshots)):
    app.agent(source(topic), name=name, supervisor_strategy=CrashingSupervisor)(follow)
