"""Mutated whitelists on NATS, read as bridge and exex do, and mutated snapshot requests, read as the scraper does.

A message is rejected whole, or decoded; a decoded pool can be written to the topic and read back, and a listed pool
is removed only by a message that says so. Any exception but the rejection is a finding.
"""

import json
from collections import Counter
from random import Random
from typing import get_args

from lab.fuzz import mutation
from lab.fuzz.wire import Finding
from protocols.types import PoolId, PoolMetadata, ProtocolName, Token
from streams.kafka import records
from streams.kafka.records import Listed, SnapshotRequest, Undecodable, encode_record
from streams.nats.whitelist_decoder import Rejected
from streams.nats.whitelist_encoder import Envelope, OutgoingMessage, encode_add, encode_full, encode_remove
from streams.nats.whitelist_state import FullList, MinimalList, apply_full, apply_minimal
from streams.scraper.snapshot_requests import RequestQueue

CHAIN = "fuzz"
ENVELOPE = Envelope(CHAIN, "2026-01-01T00:00:00+00:00", 1)
PARTS = 1_500
"""Bytes per message, so that lists come in parts."""


class Whitelists:
    async def run(self, random: Random, inputs: int, counts: Counter[str]) -> None:
        """Raises Finding, and whatever else a fault raises."""
        pools = [_metadata(random) for _ in range(random.randint(1, 6))]
        full, minimal = FullList(), MinimalList()
        for _ in range(inputs):
            subject, payload = random.choice(_random_messages(random, pools))
            if random.random() < 0.8:
                payload = random.choice((mutation.of_json, mutation.of_bytes))(random, payload)
            if random.random() < 0.1:
                subject = subject + random.choice((".x", "", ".add", ".full"))
            try:
                full, minimal = _applied(full, subject, payload), apply_minimal(minimal, subject, payload, CHAIN)
                counts["lists read"] += 1
            except Rejected:
                counts["lists rejected"] += 1


class SnapshotRequests:
    async def run(self, random: Random, inputs: int, counts: Counter[str]) -> None:
        """Raises whatever a fault raises."""
        queue = RequestQueue()
        for at in range(inputs):
            request = encode_record(random_request(random))
            request = random.choice((mutation.of_json, mutation.of_bytes))(random, request)
            try:
                queue.add(records.decode_snapshot_request(request), float(at))
                counts["requests read"] += 1
            except Undecodable:
                counts["requests rejected"] += 1
            for protocol in get_args(ProtocolName):
                taken = queue.take(protocol, 10, random.randint(0, 10**6), float(at))
                queue.requeue(taken, float(at))


def random_request(random: Random) -> SnapshotRequest:
    return SnapshotRequest(_metadata(random), "listed", random.randint(0, 10**6))


def _applied(held: FullList, subject: str, payload: bytes) -> FullList:
    found = apply_full(held, subject, payload, CHAIN)
    for pool in found.pools.values():
        again = records.decode_listed(encode_record(Listed(pool, 0)))
        if again.pool != pool:
            raise Finding(f"{pool} is written as {again.pool}")
    if not found.pools and held.pools and b"remove" not in payload.lower() and not subject.endswith(".remove"):
        raise Finding(f"{subject} {payload[:200]!r} wiped the list")
    return found


def _random_messages(random: Random, pools: list[PoolMetadata]) -> list[OutgoingMessage]:
    some = random.sample(pools, random.randint(1, len(pools)))
    most = random.choice((PARTS, 1 << 20))
    flat = {"pools": [{"pool_address": pool.id, "protocol": pool.protocol} for pool in some]}
    return random.choice(
        (
            encode_full(ENVELOPE, some, most),
            encode_add(ENVELOPE, some, most),
            encode_remove(ENVELOPE, [pool.id for pool in some], most),
            [
                OutgoingMessage(
                    f"whitelist.pools.{CHAIN}.minimal", json.dumps({"pools": [pool.id for pool in some]}).encode()
                )
            ],
            [OutgoingMessage(f"whitelist.pools.{CHAIN}.full", json.dumps(flat).encode())],
        )
    )


def _metadata(random: Random) -> PoolMetadata:
    protocol = random.choice(("v2", "v3", "v4"))
    digits = 64 if protocol == "v4" else 40
    spacing = None if protocol == "v2" else random.choice((1, 10, 60, 200))
    fee = None if protocol == "v2" else 500
    tokens = Token("0x" + "11" * 20, 18, "A"), Token("0x" + "22" * 20, 6, "B")
    return PoolMetadata(PoolId(f"0x{random.getrandbits(digits * 4):0{digits}x}"), protocol, *tokens, fee, spacing)
