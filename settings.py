"""Configuration, read once from the environment and from `.env`; every name is ARENA_ and the field in capitals."""

import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.secret_url import SecretUrl

Pin = Literal["latest", "safe", "finalized"]
"""Names of blocks that a node knows."""

MEMORY_BLOCKS: Mapping[Pin, int] = {"latest": 64, "safe": 128, "finalized": 128}
"""Snapshots older than a pool's memory cannot audit it; finalized blocks are up to 96 behind, and reads take time."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ARENA_", env_file=".env", extra="ignore", frozen=True)

    chain: str = "ethereum"
    """Prefix of all topics and part of the NATS subjects."""
    application: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9_.-]{1,100}$")
    """Names the workers' group, their changelog and their directory; unset, the chain's own, CHAIN-arena."""
    chain_id: int | None = Field(default=None, gt=0)
    """Where set, a process ends when its node is of another chain."""
    kafka: str = "localhost:9092"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    kafka_tls: bool = False
    """Connect to Kafka over TLS and trust the system's certificate authorities; implied by the three that follow."""
    kafka_tls_ca: Path | None = None
    """A PEM file: the certificate authorities to trust instead of the system's."""
    kafka_tls_certificate: Path | None = None
    """A PEM file: the client certificate and its chain."""
    kafka_tls_key: Path | None = None
    """A PEM file: the client certificate's private key, where it is not in the same file."""
    kafka_replication: int = 1
    kafka_max_message_bytes: int = 32 * 2**20
    """max.message.bytes of the topics: the largest record, compressed. Managed Kafkas often allow 8 MiB or 1 MiB."""
    kafka_compression: Literal["none", "gzip", "lz4", "zstd"] = "zstd"
    """Of snapshots and of the worker's changelog."""
    kafka_patience_s: float = 60.0
    """A process that starts waits so long for Kafka to answer, then ends."""
    nats: SecretUrl = SecretUrl("nats://localhost:4222")
    """Several servers by comma; the first that accepts the connection is used."""
    nats_credentials: Path | None = None
    """A NATS .creds file."""
    nats_user: str | None = None
    """Credentials in an address of ARENA_NATS go before these."""
    nats_password: SecretStr | None = None
    """Never sent in clear but to this machine."""
    nats_tls: bool = False
    """Connect to NATS over TLS only; implied by the three that follow and by tls:// addresses."""
    nats_tls_ca: Path | None = None
    """A PEM file: the certificate authorities to trust instead of the system's."""
    nats_tls_certificate: Path | None = None
    """A PEM file: the client certificate and its chain."""
    nats_tls_key: Path | None = None
    """A PEM file: the client certificate's private key, where it is not in the same file."""
    rpc: SecretUrl = SecretUrl("http://localhost:8545")
    """http(s)://, ws(s):// or the path of the node's IPC socket."""
    rpc_per_s: float | None = Field(default=None, gt=0)
    """So many calls per second at most, of each process; for providers that limit them."""
    rpc_ws: SecretUrl | None = None
    """Where `exex` subscribes to new heads; unset, it polls `rpc`."""
    exex_socket: Path = Path("/tmp/exex.sock")
    exex_wire: Literal["control", "seed"] = "control"
    exex_buffer_bytes: int = 16 * 2**20
    """When more waits for a client of the socket, it is disconnected."""
    exex_socket_mode: str | None = Field(default=None, pattern="^0?[0-7]{3}$")
    """The socket's permissions, such as 660; unset, what the umask leaves."""
    exex_socket_group: str | None = None
    """The group that owns the socket; unset, the process's own."""
    partitions: int = 8
    data: Path = Path("data")
    web_host: str = "127.0.0.1"
    """Where a worker's HTTP server listens, and what it advertises to other workers, unless the next two are set."""
    web_bind: str | None = None
    """The address that a worker listens at."""
    web_advertised: str | None = None
    """The host name or address at which the other workers reach this one; unset, ARENA_WEB_HOST, or this machine's
    host name where ARENA_WEB_BIND is 0.0.0.0 or ::."""
    web_token: SecretStr | None = None
    """Set, every HTTP request but /healthz and /readyz must carry it: `Authorization: Bearer …`."""
    web_port: int = 6066
    ready_waiting_share: float = Field(default=0.1, ge=0, le=1)
    """A worker of whose pools a larger share waits answers /readyz with 503."""
    metrics_port: int | None = None
    """Prometheus metrics of exex, bridge, scraper or whitelist run, at the address of a worker; `up` counts on."""
    retention_days: float = 7.0
    """Of the topics `chain`, `snapshots`, `updates`, `wanted` and `dead-letters`."""
    updates: bool = True
    """Workers write what changed to the topic `updates`, from which /stream is served; without it that answers 503."""
    listing_margin: int = 2
    """Blocks after a listing until a feed is taken to forward the pool's events."""
    bridge_session_s: float = 6.0
    """Of several bridges one leads; after so long without its heartbeat another does. Brokers allow 6 and more."""
    bridge_verify: bool = True
    """True: every block is published with the node's logs. False: with the feed's, where the node's header agrees."""
    bridge_patience_s: float = 30.0
    """A block that the node answers for, but refuses for so long, becomes a Gap. A node that is away is waited for."""
    bridge_gap_blocks: int = 10_000
    """More missing blocks than these are published as a Gap instead of being read from the node."""
    bridge_silence_s: float = 15.0
    """A feed that sends nothing for so long while the node's head moves is reported; its blocks come from the node."""
    bridge_buffer: int = 1000
    """Blocks of the feed that may wait; when they are more, the connection is given up."""
    v4_pool_manager: str | None = None
    """For V4 pools whose list names no factory; unset, the chain's well-known one or the pool's own Initialize log."""
    wanted_retry_s: float = 5.0
    """A waiting pool asks for its snapshot again after so long without one."""
    scraper_block_time_s: float = 12.0
    """Of the chain: a batch of snapshots is as large as can be read in 80 % of it."""
    scraper_adaptive: bool = True
    """The batches' sizes follow what the node does; else they stay as streams/scraper/batch_size.py has them."""
    scraper_parallel: bool = True
    """V2, V3 and V4 pools are read side by side."""
    scraper_pin: Pin = "latest"
    """The block that snapshots are taken at. `safe` and `finalized` are never replaced by a reorg, and minutes old."""
    memory_blocks: int = Field(default_factory=lambda known: MEMORY_BLOCKS[known["scraper_pin"]])
    """How many blocks a live pool can be rewound and audited: 64 where snapshots are of the latest block, else 128."""
    scraper_wait_for_next_block: bool = False
    """Each batch of a protocol at a block of its own."""
    whitelist_config: Path | None = None
    """What `whitelist` does, a TOML file; unset, whitelist/ethereum.toml. Set, `up` runs `whitelist` too."""
    audits_per_minute: float = 60.0
    """So many live pools, over all workers, are compared with the chain; at random, the busiest most often."""
    standby_replicas: int = 1
    """How many other workers keep a copy of each partition, to take over at once."""
    session_timeout_s: float = 10.0
    """After so long without a heartbeat a worker's partitions go to the others."""

    @property
    def advertised_host(self) -> str:
        if self.web_advertised is not None:
            return self.web_advertised
        return socket.gethostname() if self.web_bind in ("0.0.0.0", "::") else self.web_host

    @property
    def application_id(self) -> str:
        return self.application or f"{self.chain}-arena"

    @property
    def worker_directory(self) -> Path:
        """Of the rows of the worker at this HTTP port."""
        data = self.data / self.application if self.application else self.data
        return data / f"worker-{self.web_port}"

    @field_validator("memory_blocks", mode="after")
    @classmethod
    def _reaches_the_pin(cls, blocks: int, info: ValidationInfo) -> int:
        pin: Pin = info.data.get("scraper_pin", "latest")
        least = MEMORY_BLOCKS[pin] if pin != "latest" else 1
        if blocks < least:
            raise ValueError(
                f"{blocks} blocks do not reach back to {pin} blocks (ARENA_SCRAPER_PIN), so that no busy pool could be "
                f"audited; {least} or more are needed, or the pin latest"
            )
        return blocks


@cache
def settings() -> Settings:
    return Settings()
