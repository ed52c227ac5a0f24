"""A worker that somebody extends: an agent of their own topic and an `@app.page` view read the pool table."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.bench.made_chain import MadeChain, Shape
from lab.bench.worker_under_test import Bench
from lab.devnet.servers.processes import Process, free_port
from lab.devnet.servers.system import environment_of
from settings import Settings
from streams.kafka.clients import producing
from tests.support.files import ROOT

pytestmark = pytest.mark.servers

Page = dict[str, Any]
SHAPE = Shape(pools=12, ticks=10, events=20, touched=8, partitions=4)
EXTENSION = """
import worker  # the agents of the pool table
from app import app, configured, pool_table
from tables.live import Live

orders = app.topic(f"{configured.chain}.orders", value_type=bytes, value_serializer="raw")
seen = []


@app.agent(orders, name="orders")
async def price_orders(orders):
    async for pool_id in orders:
        pool = pool_table.get(pool_id)
        seen.append([pool_id.decode(), pool_id in pool_table, pool is not None and isinstance(pool.life, Live)])


@app.page("/mine/")
async def mine(self, request):
    try:
        pool_table["0x" + "00" * 20] = None
    except TypeError as error:
        refused = str(error)
    live = [pool_id for pool_id, pool in pool_table.items() if isinstance(pool.life, Live)]
    return self.json(
        {
            "seen": seen,
            "live": sorted(live),
            "len": len(pool_table),
            "same": set(pool_table) == set(pool_table.keys()) and len(list(pool_table.values())) == len(pool_table),
            "refused": refused,
        }
    )
"""


async def test_an_agent_and_a_page_of_an_extension_read_the_pool_table(
    kafka: str, chain_name: str, tmp_path: Path
) -> None:
    settings = Settings(chain=chain_name, kafka=kafka, data=tmp_path / "data", partitions=4, web_port=free_port())
    chain = MadeChain(SHAPE)
    async with Bench(settings, chain, tmp_path) as bench:
        await bench.fill()
    await create_topic(kafka, f"{chain_name}.orders", partitions=1)
    (tmp_path / "extension.py").write_text(EXTENSION)
    ids = [pool.metadata.id for pool in chain.pools]

    with_extension = environment_of(settings) | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    command = [sys.executable, "-m", "faust", "-A", "extension", "worker", "--loglevel", "info"]
    process = Process("extension", command, tmp_path / "worker.log", with_extension)
    try:
        await until(settings, lambda page: len(page["live"]) == len(ids), process)
        async with producing(settings) as producer:
            for each in (*ids, "0x" + "ee" * 20):
                await producer.send_and_wait(f"{chain_name}.orders", each.encode())
        page = await until(settings, lambda page: len(page["seen"]) == len(ids) + 1, process)
    finally:
        process.stop(20)

    assert page["seen"] == [*([each, True, True] for each in ids), ["0x" + "ee" * 20, False, False]]
    assert (page["live"], page["len"], page["same"]) == (sorted(ids), len(ids), True)
    assert "is written by folding its topics alone" in page["refused"]


async def create_topic(kafka: str, name: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()


async def until(settings: Settings, is_done: Callable[[Page], bool], process: Process) -> Page:
    async with asyncio.timeout(90):
        while True:
            assert process.exit_code is None, process.log_tail()
            page = await asyncio.to_thread(read_page, settings)
            if page is not None and is_done(page):
                return page
            await asyncio.sleep(0.2)


def read_page(settings: Settings) -> Page | None:
    try:
        with urlopen(f"http://{settings.web_host}:{settings.web_port}/mine/", timeout=5) as answer:
            return dict(json.load(answer))
    except OSError:
        return None
