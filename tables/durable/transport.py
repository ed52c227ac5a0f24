"""Faust's transport over our consumer and a producer that neither loses nor doubles records."""

import logging
from typing import Any

from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers import aiokafka as driver

from tables.durable.consumer import Consumer

log = logging.getLogger(__name__)


class Producer(driver.Producer):  # type: ignore[misc] # faust is not typed
    def _settings_extra(self) -> dict[str, Any]:
        """A retry must not write a batch twice, and none may be lost with a broker."""
        return {"acks": "all", "enable_idempotence": True}

    async def on_start(self) -> None:
        """The first of the worker's parts to need Kafka."""
        try:
            await super().on_start()
        except KafkaConnectionError as error:
            servers = ", ".join(driver.server_list(self.transport.url, self.transport.default_port))
            log.critical("Kafka at %s does not answer (%s); start it, or correct the address", servers, error)
            raise SystemExit(1) from error


class Transport(driver.Transport):  # type: ignore[misc] # faust is not typed
    Consumer = Consumer
    Producer = Producer

    def client_options(self) -> dict[str, Any]:
        """For a client of our own beside Faust's."""
        conf = self.app.conf
        return {
            "bootstrap_servers": driver.server_list(self.url, self.default_port),
            "max_partition_fetch_bytes": conf.consumer_max_fetch_size,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        }
