"""What a list says on NATS, given what was said last: the difference on subjects of its own, then the whole list. PURE.

The whole list goes last, because JetStream keeps the last message of each subject: who comes late must find it there.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from protocols.types import PoolId, PoolMetadata
from streams.nats.whitelist_encoder import (
    Envelope,
    OutgoingMessage,
    encode_add,
    encode_full,
    encode_message,
    encode_parts,
    encode_remove,
    split_by_size,
)
from whitelist.publication.store import ListedToken, Published


class TooManyRemoved(Exception):
    """More of the list would go than may go unasked."""


class Change(msgspec.Struct, frozen=True):
    """From one list to the next."""

    pools: Sequence[PoolMetadata]
    """New, or told otherwise than before."""
    removed: Sequence[PoolId]
    tokens: Sequence[ListedToken]
    removed_tokens: Sequence[str]

    @property
    def is_empty(self) -> bool:
        return not (self.pools or self.removed or self.tokens or self.removed_tokens)


def change(before: Published | None, after: Published) -> Change:
    old_pools = {pool.id: pool for pool in before.pools} if before else {}
    old_tokens = {token.address: token for token in before.tokens} if before else {}
    return Change(
        pools=[pool for pool in after.pools if old_pools.get(pool.id) != pool],
        removed=sorted(old_pools.keys() - {pool.id for pool in after.pools}),
        tokens=[token for token in after.tokens if old_tokens.get(token.address) != token],
        removed_tokens=sorted(old_tokens.keys() - {token.address for token in after.tokens}),
    )


def expect_moderate(before: Published | None, found: Change, share: float) -> None:
    """Raises TooManyRemoved for a difference that takes more than `share` of the pools away.

    Tokens do not count: one goes when a source drops it, and what that costs is its pools.
    """
    if before is not None and len(found.removed) > share * len(before.pools):
        raise TooManyRemoved(
            f"{len(found.removed)} of {len(before.pools)} pools would be removed, more than {share:.0%}; "
            "nothing is published. See `whitelist diff`; `whitelist publish --force` publishes it all the same"
        )


def messages(said: Envelope, found: Change, after: Published, max_payload: int) -> list[OutgoingMessage]:
    """Raises TooLarge."""
    gone = [
        encode_message(said, "remove", {"type": "remove", "token_addresses": chunk}, "tokens")
        for chunk in split_by_size(list(found.removed_tokens), max_payload)
    ]
    return [
        *encode_remove(said, found.removed, max_payload),
        *encode_add(said, found.pools, max_payload),
        *gone,
        *_tokens(said, "add", found.tokens, max_payload),
        *whole(said, after, max_payload),
    ]


def whole(said: Envelope, published: Published, max_payload: int) -> list[OutgoingMessage]:
    """Raises TooLarge. Of no pools nothing is said: readers refuse a list that empties theirs."""
    pools = encode_full(said, published.pools, max_payload) if published.pools else []
    return [*pools, *_tokens(said, "full", published.tokens, max_payload)]


def _tokens(said: Envelope, action: str, tokens: Sequence[ListedToken], max_payload: int) -> list[OutgoingMessage]:
    bodies: list[dict[str, Any]] = [
        {"type": action, "token_count": len(chunk), "tokens": chunk}
        for chunk in split_by_size(list(tokens), max_payload)
    ]
    return encode_parts(said, action, bodies, "tokens")
