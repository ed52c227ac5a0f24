"""The process `scraper`: serves the snapshot requests on topic `wanted`.

It keeps no state: a worker without its snapshot repeats the request, also after a crash of the scraper.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiokafka import AIOKafkaConsumer

from protocols.registry import NAMES
from settings import Settings
from streams.kafka.clients import client_options, fetch_limits, producing
from streams.kafka.groups import leave_group, raise_group_failure, run_until_first_exit
from streams.kafka.records import Undecodable, decode_snapshot_request
from streams.kafka.topic_setup import ensure_topics
from streams.kafka.topics import topics
from streams.node.client import Node, connect_node
from streams.node.errors import NodeUnavailable, RpcError
from streams.retry import Retries
from streams.scraper.batch_size import BatchConfig, batch_config
from streams.scraper.batches import WAIT_MAX_S, Scraper
from streams.scraper.metrics import UNDECODABLE_REQUESTS
from streams.scraper.reference_blocks import reference_block_publisher
from streams.scraper.snapshot_publisher import SnapshotPublisher

log = logging.getLogger(__name__)


async def run(settings: Settings, config: BatchConfig | None = None) -> None:
    """Until cancelled. Raises KafkaUnreachable, TopicRefused, TopicMismatch, NotPublished, WrongChain."""
    await ensure_topics(settings)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(connect_node(settings))
        await _check_chain(node, settings)
        publisher = SnapshotPublisher(
            settings.chain, await stack.enter_async_context(producing(settings, compressed=True))
        )
        announce = await stack.enter_async_context(reference_block_publisher(settings))
        records = await stack.enter_async_context(_request_consumer(settings))
        scraper = Scraper(settings, config or batch_config(settings), node, publisher, announce)
        log.info("scraping %s from %s", settings.chain, settings.rpc)
        await run_until_first_exit(
            raise_group_failure(records),
            _read_requests(scraper, records, publisher),
            *(scraper.run(protocol) for protocol in NAMES),
        )


async def _check_chain(node: Node, settings: Settings) -> None:
    """Before the first request arrives. Raises WrongChain; a node that is away is waited for."""
    if settings.chain_id is None:
        return
    async for attempt in Retries("The node", (NodeUnavailable, RpcError), wait_max_s=WAIT_MAX_S):
        with attempt:
            await node.chain_id()


@asynccontextmanager
async def _request_consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        topics(settings.chain).wanted,
        **client_options(settings),
        **fetch_limits(),
        group_id=f"{settings.chain}-scraper",
        auto_offset_reset="latest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await leave_group(consumer)


async def _read_requests(scraper: Scraper, records: AIOKafkaConsumer, publisher: SnapshotPublisher) -> None:
    async for record in records:
        try:
            scraper.add_request(decode_snapshot_request(record.value or b""))
        except Undecodable as error:
            UNDECODABLE_REQUESTS.inc()
            origin = record.topic, record.partition, record.offset
            log.warning("%s[%d] offset %d is no snapshot request: %s", *origin, error)
            await publisher.dead_letter(record, error)
