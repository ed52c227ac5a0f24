"""The Faust application of a durable table: its defaults, and how it starts and stops."""

import logging
import os
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import faust

from streams.kafka.log_throttle import throttle
from tables.durable.chunks import Processor
from tables.durable.table import DurableTable, Sources
from tables.durable.transport import Transport

log = logging.getLogger(__name__)

LARGEST_RECORD_BYTES = 32 * 2**20
FETCH_BYTES = 4 * 2**20
"""Of one partition at once; a record larger than that arrives all the same, alone."""
BATCH_BYTES = 512 * 2**10
PRODUCER_TIMEOUT_S = 120.0
"""A record that Kafka does not acknowledge in this time ends the worker."""
COMPACTION_LAG_MS = 6 * 60 * 60 * 1000
"""Compaction must not leave the older write of a worker that was frozen as the only one."""
SEGMENT_MS = 6 * 60 * 60 * 1000
STOPPING_S = 12.0
"""Less than process managers wait before they kill. Faust has no end of its own where Kafka does not answer."""
EMPTY: Mapping[Any, Any] = MappingProxyType({})

DEFAULTS: dict[str, Any] = {
    "store": "rocksdb://",
    "key_serializer": "raw",
    "value_serializer": "raw",
    "topic_disable_leader": True,
    "web_tables_enabled": False,
    "stream_wait_empty": False,
    "processing_guarantee": "at_least_once",
    "consumer_auto_offset_reset": "earliest",
    "consumer_max_fetch_size": FETCH_BYTES,
    "producer_max_batch_size": BATCH_BYTES,
    "producer_max_request_size": LARGEST_RECORD_BYTES,
    "producer_request_timeout": PRODUCER_TIMEOUT_S,
    "producer_linger": 0.0,
}


class DurableApp(faust.App):  # type: ignore[misc] # faust is not typed
    durable: DurableTable
    """The one table."""

    def __init__(self, id: str, **options: Any) -> None:  # noqa: A002 faust's name for it
        super().__init__(id, **{**DEFAULTS, **options})
        throttle(logging.getLogger("aiokafka"))

    def durable_table(
        self,
        name: str,
        processor: Processor,
        sources: Sources,
        decoded: Mapping[Any, Any] = EMPTY,
        max_message_bytes: int = LARGEST_RECORD_BYTES,
    ) -> DurableTable:
        """Once per application. `decoded` is how agents and views read it: what the owned rows mean, by key."""
        conf = self.conf
        self.durable = DurableTable(
            self,
            name=name,
            processor=processor,
            sources=sources,
            decoded=decoded,
            partitions=conf.topic_partitions,
            extra_topic_configs={
                "min.compaction.lag.ms": str(COMPACTION_LAG_MS),
                "segment.ms": str(SEGMENT_MS),
                "max.message.bytes": str(max_message_bytes),
                "min.insync.replicas": str(max(1, conf.topic_replication_factor - 1)),
            },
        )
        self.tables.add(self.durable)
        return self.durable

    def on_rebalance_end(self) -> None:
        """Called when Faust has cleared its queues for the last time."""
        super().on_rebalance_end()
        self.consumer.resume_held()

    async def stop(self) -> None:
        """Ends the process where that takes longer than STOPPING_S: a table is as safe then as after SIGKILL."""
        deadline = threading.Timer(STOPPING_S, _end)
        deadline.daemon = True
        deadline.start()
        await super().stop()

    async def on_stop(self) -> None:
        """While the producer and the databases are still there."""
        await self.durable.tasks.release()
        await super().on_stop()

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)


def _end() -> None:
    log.critical("this worker ends without leaving its group: it did not stop in %.0f s", STOPPING_S)
    os._exit(1)
