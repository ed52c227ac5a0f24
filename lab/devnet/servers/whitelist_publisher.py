"""Publishes full whitelists on NATS, where JetStream keeps them for late subscribers."""

import json
import time
from collections.abc import Sequence
from typing import Any

import nats
from nats.js.api import StreamConfig

from lab.devnet.chain.contracts import NATIVE, Pool
from streams.nats import jetstream
from streams.nats.whitelist_encoder import OutgoingMessage

STREAM = StreamConfig(name="whitelist", subjects=["whitelist.>"], max_msgs_per_subject=1)


async def publish(url: str, chain: str, pools: Sequence[Pool]) -> None:
    """Both full lists; each replaces the one before."""
    connection = await nats.connect(url)
    messages = (("full", full(chain, pools)), ("minimal", minimal(chain, pools)))
    said = [
        OutgoingMessage(f"whitelist.pools.{chain}.{name}", json.dumps(message).encode()) for name, message in messages
    ]
    try:
        await jetstream.publish(connection, chain, said)
    finally:
        await connection.close()


def full(chain: str, pools: Sequence[Pool]) -> dict[str, Any]:
    return {**_envelope(chain), "pool_count": len(pools), "pools": [_nested(pool) for pool in pools]}


def minimal(chain: str, pools: Sequence[Pool]) -> dict[str, Any]:
    return {
        **_envelope(chain),
        "pool_count": len(pools),
        "pools": [pool.id for pool in pools],
        "protocols": [pool.protocol for pool in pools],
    }


def _envelope(chain: str) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_ms / 1000))
    return {"type": "full", "chain": chain, "timestamp": stamp, "snapshot_id": now_ms}


def _nested(pool: Pool) -> dict[str, Any]:
    message: dict[str, Any] = {
        "address": pool.address,
        "protocol": pool.protocol,
        "factory": pool.factory,
        "token0": _token(pool.token0),
        "token1": _token(pool.token1),
    }
    if pool.protocol != "v2":
        message |= {"fee": pool.fee, "tick_spacing": pool.tick_spacing}
    if pool.protocol == "v4":
        message |= {"pool_id": pool.id, "hooks": pool.hooks}
    return message


def _token(address: str) -> dict[str, Any]:
    return {"address": address, "decimals": 18, "symbol": "ETH" if address == NATIVE else f"T{address[2:6].upper()}"}
