"""Whether the hooks of a V4 pool leave its swaps alone: their address says which calls they get."""

from protocols.quotes.order import QuoteRefused, RefusalKind
from protocols.quotes.pool_keys import has_no_hooks
from protocols.types import PoolMetadata

FLAGS = {
    "beforeSwap": 1 << 7,
    "afterSwap": 1 << 6,
    "beforeSwapReturnsDelta": 1 << 3,
    "afterSwapReturnsDelta": 1 << 2,
}
"""Of the 14 lowest bits of the address, those that concern swaps (Hooks.sol)."""


def check_hooks(pool: PoolMetadata) -> None:
    """Raises QuoteRefused for hooks that may change what a swap does."""
    if pool.hooks is None:
        if not has_no_hooks(pool):
            raise QuoteRefused(
                RefusalKind.HOOKS,
                "the list does not name the pool's hooks, and its id is not that of a pool without hooks",
            )
        return
    bits = int(pool.hooks, 16)
    if named := [name for name, flag in FLAGS.items() if bits & flag]:
        raise QuoteRefused(RefusalKind.HOOKS, f"the hooks {pool.hooks} take part in swaps: {', '.join(named)}")
