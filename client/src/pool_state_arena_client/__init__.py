"""A client of Pool State Arena: exact pool state, many pools as of one block, quotes, the stream, and a live mirror."""

from pool_state_arena_client.arena import Arena
from pool_state_arena_client.async_arena import AsyncArena
from pool_state_arena_client.errors import ArenaError
from pool_state_arena_client.frames import to_arrow, to_pandas, to_polars

__all__ = ["Arena", "ArenaError", "AsyncArena", "to_arrow", "to_pandas", "to_polars"]
