"""The bloom filter of a block's header: which addresses and topics the logs of the block cannot have. Pure.

Yellow Paper, section 4.4.3: each address and each topic of a log sets three of 2,048 bits, numbered by the low 11 bits
of the first three pairs of bytes of its Keccak-256. A bit that is not set proves absence; bits that are set prove
nothing.
"""

from collections.abc import Iterable
from functools import lru_cache

from eth_hash.auto import keccak

BLOOM_BYTES = 256
_LAST_BIT = 8 * BLOOM_BYTES - 1


@lru_cache(maxsize=4096)
def bits_of(value: bytes) -> int:
    """The bits that an address of 20 bytes or a topic of 32 sets, in a bloom read as one big-endian number."""
    digest = keccak(value)
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & _LAST_BIT)
    return bits


def may_have(bloom: int, values: Iterable[bytes]) -> bool:
    """Whether one of the addresses or topics can be in the block's logs."""
    return any(bloom & bits == bits for bits in map(bits_of, values))


def has_all(bloom: int, values: Iterable[bytes]) -> bool:
    return all(bloom & bits == bits for bits in map(bits_of, values))
