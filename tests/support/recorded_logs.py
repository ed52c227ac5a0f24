"""Logs of real blocks, as `eth_getLogs` gave them."""

import gzip

import msgspec

from protocols.types import Log
from tests.support.files import DATA


class Recorded(msgspec.Struct):
    block: int
    address: str
    topics: list[str]
    data: str
    transaction_index: int
    log_index: int

    def log(self) -> Log:
        topics = tuple(bytes.fromhex(topic[2:]) for topic in self.topics)
        return Log(self.address, topics, bytes.fromhex(self.data[2:]), self.transaction_index, self.log_index)


def logs(name: str) -> list[Log]:
    """In the chain's order."""
    return [each.log() for each in recorded(name)]


def recorded(name: str) -> list[Recorded]:
    decoder = msgspec.json.Decoder(Recorded)
    with gzip.open(DATA / f"{name}.jsonl.gz") as lines:
        return [decoder.decode(line) for line in lines]
