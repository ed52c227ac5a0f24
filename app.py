"""The worker's Faust application: one table that the three source topics are folded into, and its HTTP server."""

import gc
import logging
from pathlib import Path
from typing import Any

import faust
from faust.web.drivers import aiohttp as aiohttp_driver

from settings import Settings, settings
from streams.kafka.clients import LARGEST_RECORD_BYTES, InsecureKafka, compression_type, tls_context
from streams.kafka.connection import KafkaRefused
from streams.kafka.topic_checks import TopicMismatch
from streams.kafka.topic_setup import KafkaUnreachable, TopicRefused, ensure_topics
from streams.kafka.topics import topics
from tables.durable.app import DurableApp
from tables.durable.table import Sources
from tables.processing.loop_lag import observe_loop_lag
from tables.processing.owned_pools import OwnedPools
from tables.processing.processor import PartitionProcessor
from tables.views.envelope import ServedChain
from web.errors import errors_as_json
from web.owners.ownership import Ownership
from web.routes import HttpApi, HttpOptions
from web.server import Runner
from web.token import require_token

log = logging.getLogger(__name__)

HEARTBEATS_PER_SESSION = 5
GARBAGE_THRESHOLDS = 50_000, 20, 100
"""States stay for long and are in no cycle: the collector of cycles looks at them in vain, and holds up the loop."""

configured = settings()
names = topics(configured.chain)
token = configured.web_token.get_secret_value() if configured.web_token else None


class Web(aiohttp_driver.Web):  # type: ignore[misc] # faust is not typed
    """Faust's web server, on a runner that answers in JSON what never reaches a route too."""

    def __init__(self, app: faust.App, **options: Any) -> None:
        super().__init__(app, **options)
        self._runner = Runner(self.web_app, access_log=None)


class Arena(DurableApp):
    def _new_web(self) -> Web:
        return Web(self)

    async def on_first_start(self) -> None:
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        Path(self.conf.datadir).mkdir(parents=True, exist_ok=True)
        try:
            await ensure_topics(configured)
        except (KafkaRefused, KafkaUnreachable, TopicMismatch, TopicRefused) as error:
            log.critical("%s", error)
            raise SystemExit(1) from error
        await super().on_first_start()

    async def on_start(self) -> None:
        await super().on_start()
        self.add_future(ownership.observe_progress())
        self.add_future(observe_loop_lag())

    async def on_stop(self) -> None:
        await http_api.close()
        await super().on_stop()


def source(topic: str) -> faust.TopicT:
    """A topic whose records stay bytes: the processor decodes them."""
    return app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def credentials(settings: Settings) -> Any:
    try:
        tls = tls_context(settings)
    except InsecureKafka as error:
        raise SystemExit(str(error)) from error
    if settings.kafka_username is None:
        return faust.SSLCredentials(context=tls) if tls else None
    password = settings.kafka_password.get_secret_value() if settings.kafka_password else ""
    return faust.SASLCredentials(
        username=settings.kafka_username,
        password=password,
        ssl_context=tls,
        mechanism=settings.kafka_sasl_mechanism,
    )


app = Arena(
    configured.application_id,
    broker=";".join(f"kafka://{server}" for server in configured.kafka.split(",")),
    broker_credentials=credentials(configured),
    broker_session_timeout=configured.session_timeout_s,
    broker_heartbeat_interval=configured.session_timeout_s / HEARTBEATS_PER_SESSION,
    datadir=configured.worker_directory,
    topic_partitions=configured.partitions,
    topic_replication_factor=configured.kafka_replication,
    table_standby_replicas=configured.standby_replicas,
    producer_max_request_size=LARGEST_RECORD_BYTES,
    producer_compression_type=compression_type(configured),
    web_host=configured.advertised_host,
    web_bind=configured.web_bind or configured.web_host,
    web_port=configured.web_port,
    web_application_options={"middlewares": [errors_as_json, require_token(token)]},
)
processor = PartitionProcessor(names, configured.memory_blocks, updates=configured.updates)
sources = Sources(contiguous=frozenset({names.chain, names.snapshots}), compacted=frozenset({names.whitelist}))
pool_table = app.durable_table(
    "pools", processor, sources, OwnedPools(processor.partitions), configured.kafka_max_message_bytes
)
ownership = Ownership(app, pool_table, [names.whitelist, names.chain, names.snapshots])
served = ServedChain(configured.chain, configured.chain_id)
http_api = HttpApi(
    processor,
    ownership,
    served,
    configured.partitions,
    HttpOptions(token, configured.ready_waiting_share, configured),
)
app.web.web_app.add_routes(http_api.routes())
