"""The NATS messages of a new list: what changed on `.add` and `.remove`, then the full list. Pure.

The full list goes last, because JetStream keeps the last message of each subject for late subscribers.
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
    is_in_parts,
    split_by_size,
)
from whitelist.publication.store import Published
from whitelist.tokens.chosen import ListedToken


class TooManyRemoved(Exception):
    """The new list would remove a larger share than is allowed without --force."""


class ListChange(msgspec.Struct, frozen=True):
    """The difference between two lists."""

    pools: Sequence[PoolMetadata]
    """New, or with other metadata than before."""
    removed: Sequence[PoolId]
    tokens: Sequence[ListedToken]
    removed_tokens: Sequence[str]

    @property
    def is_empty(self) -> bool:
        return not (self.pools or self.removed or self.tokens or self.removed_tokens)


def compare_lists(before: Published | None, after: Published) -> ListChange:
    old_pools = {pool.id: pool for pool in before.pools} if before else {}
    old_tokens = {token.address: token for token in before.tokens} if before else {}
    return ListChange(
        pools=[pool for pool in after.pools if old_pools.get(pool.id) != pool],
        removed=sorted(old_pools.keys() - {pool.id for pool in after.pools}),
        tokens=[token for token in after.tokens if old_tokens.get(token.address) != token],
        removed_tokens=sorted(old_tokens.keys() - {token.address for token in after.tokens}),
    )


def check_removals(before: Published | None, change: ListChange, share: float) -> None:
    """Raises TooManyRemoved where more than `share` of the pools would be removed.

    Tokens do not count: where a source drops one, its pools do.
    """
    if before is not None and len(change.removed) > share * len(before.pools):
        raise TooManyRemoved(
            f"{len(change.removed)} of {len(before.pools)} pools would be removed, more than {share:.0%}; "
            "nothing is published. `whitelist diff` shows them; `whitelist publish --force` publishes anyway"
        )


def update_messages(
    envelope: Envelope, change: ListChange, after: Published, max_payload: int
) -> list[OutgoingMessage]:
    """A list of pools in parts goes alone: with its changes, who does not join parts would hold only those.

    Raises TooLarge.
    """
    full = full_list_messages(envelope, after, max_payload)
    pools = [
        *encode_remove(envelope, change.removed, max_payload),
        *encode_add(envelope, change.pools, max_payload),
    ]
    removed = [
        encode_message(envelope, "remove", {"type": "remove", "token_addresses": chunk}, "tokens")
        for chunk in split_by_size(list(change.removed_tokens), max_payload)
    ]
    return [
        *([] if is_in_parts(full) else pools),
        *removed,
        *_tokens(envelope, "add", change.tokens, max_payload),
        *full,
    ]


def full_list_messages(envelope: Envelope, published: Published, max_payload: int) -> list[OutgoingMessage]:
    """Raises TooLarge. An empty list is not published: readers refuse to be emptied."""
    pools = encode_full(envelope, published.pools, max_payload) if published.pools else []
    return [*pools, *_tokens(envelope, "full", published.tokens, max_payload)]


def _tokens(envelope: Envelope, action: str, tokens: Sequence[ListedToken], max_payload: int) -> list[OutgoingMessage]:
    bodies: list[dict[str, Any]] = [
        {"type": action, "token_count": len(chunk), "tokens": chunk}
        for chunk in split_by_size(list(tokens), max_payload)
    ]
    return encode_parts(envelope, action, bodies, "tokens")
