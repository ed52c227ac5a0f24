"""One event of the toy DEX on its way through the system; prints what each stage makes of it, as JSON.

A process of its own, because the registry is read at import. test_toy_dex.py starts it with the toy in the registry.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from eth_hash.auto import keccak

from protocols.abi import decode_outputs
from protocols.decoding import decode_listed
from protocols.folding import apply, from_snapshot
from protocols.registry import Event, State, dex_of
from protocols.types import NATIVE, Log, PoolId, PoolMetadata, Token
from streams.kafka.records import Snapshot, Update, decode_chain, decode_snapshot, encode_record
from streams.kafka.topics import topics
from streams.nats.whitelist_decoder import protocol_name
from tables.partition import Partition
from tables.processing.processor import PartitionProcessor
from tables.views.envelope import ServedChain
from tests.support.partition_store import MEMORY, Store, block
from web.errors import errors_as_json
from web.routes import HttpApi

POOL = PoolId("0x" + "70" * 20)
METADATA = PoolMetadata(POOL, protocol_name("Toy"), Token(NATIVE), Token("0x" + "11" * 20))
LOG = Log(POOL, (keccak(b"Balances(uint128,uint128)"),), (5).to_bytes(32, "big") + (2**100).to_bytes(32, "big"), 0, 0)


class OnlyWorker:
    def urls(self) -> Mapping[int, str]:
        return {}

    def own_url(self) -> str:
        return ""

    def ready(self, partition: int) -> bool:
        return True

    def owned(self) -> set[int]:
        return {0}

    def stalled(self) -> str | None:
        return None


def read_state() -> State:
    """From what the contract's getter answers: 3 and 4."""
    reads = dex_of(METADATA.protocol).reads
    (call,) = reads.identity_calls(POOL, POOL)
    answer = (3).to_bytes(32, "big") + (4).to_bytes(32, "big")
    state = reads.identify(METADATA, [decode_outputs(call.function, answer)])
    assert isinstance(state, dex_of(METADATA.protocol).state)
    return state


def stored(state: State, event: Event) -> Partition:
    """Listed, read, changed by an update, written as rows, and loaded from them: as after a worker's restart."""
    store = Store(METADATA)
    snapshot = decode_snapshot(encode_record(Snapshot(POOL, block(1), state)))
    assert isinstance(snapshot, Snapshot)
    store.snapshot(METADATA, snapshot.state)
    update = decode_chain(encode_record(Update(POOL, block(2), (event,))))
    assert isinstance(update, Update)
    store.block(*update.events, pool=METADATA)
    store.write()
    return store.load().partition


async def answer(partition: Partition, path: str) -> Any:
    processor = PartitionProcessor(topics("test"), MEMORY)
    processor.partitions = {0: partition}
    application = web.Application(middlewares=[errors_as_json])
    application.add_routes(HttpApi(processor, OnlyWorker(), ServedChain("test"), 1).routes())
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}{path}") as response:
        body = msgspec.json.decode(await response.read())
    await runner.cleanup()
    return body


async def main() -> None:
    ((_, decoded),) = decode_listed([LOG], {POOL: METADATA.protocol}, {})
    state = read_state()
    partition = stored(state, decoded.event)
    stages = {
        "decoded": decoded._asdict(),
        "read": state,
        "folded": apply(from_snapshot(METADATA, state), [decoded.event]).price,
        "http": await answer(partition, f"/pools/{POOL}/"),
        "http_before": await answer(partition, f"/pools/{POOL}/?at=1"),
    }
    print(msgspec.json.encode(stages).decode())


if __name__ == "__main__":
    asyncio.run(main())
