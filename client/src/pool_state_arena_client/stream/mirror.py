"""A live mirror of pools, kept by a thread."""

import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self

import httpx

from pool_state_arena_client.errors import ArenaError, NotInStep
from pool_state_arena_client.records import Block, Pool
from pool_state_arena_client.stream.events import Event
from pool_state_arena_client.stream.mirror_state import MirrorState
from pool_state_arena_client.stream.session import StreamSession

Connection = Callable[[StreamSession], Iterator[Event]]


class Mirror(Mapping[str, Pool]):
    """Pools by id, equal to the server's at `block`. Reading raises NotInStep while that is not known.

    Several reads that have to be of one block are made in `with mirror.lock:`.
    """

    def __init__(self, session: StreamSession, connection: Connection) -> None:
        self.lock = threading.RLock()
        self._session = session
        self._connection = connection
        self._state = MirrorState()
        self._changed = threading.Condition(self.lock)
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._follow, name="pool-state-arena mirror", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """The thread ends with the next event, at the latest with the next status."""
        self._stopping.set()

    def wait_for_block(self, number: int = 0, timeout_s: float = 30.0) -> Block:
        """Until the mirror is in step, at that block or a later one. Raises NotInStep, and what ended the stream."""
        with self._changed:
            reached = self._changed.wait_for(
                lambda: self._error or (self._state.is_in_step and self._state.block.number >= number), timeout_s
            )
            if self._error:
                raise self._error
            if not reached:
                raise NotInStep(f"the mirror is not at block {number} after {timeout_s:g} s")
            return self._state.block

    @property
    def is_in_step(self) -> bool:
        with self.lock:
            return self._state.is_in_step

    @property
    def block(self) -> Block:
        """Raises NotInStep."""
        with self.lock:
            return self._state.block

    def __getitem__(self, pool_id: str) -> Pool:
        with self.lock:
            return self._state[pool_id]

    def __iter__(self) -> Iterator[str]:
        with self.lock:
            return iter(self._state)

    def __len__(self) -> int:
        with self.lock:
            return len(self._state)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                for event in self._connection(self._session):
                    if self._stopping.is_set():
                        return
                    with self._changed:
                        self._state.apply(event)
                        self._changed.notify_all()
            except (ArenaError, httpx.TransportError) as error:
                self._lose(error)

    def _lose(self, error: Exception) -> None:
        with self._changed:
            self._state.lose_step(str(error) or type(error).__name__)
            self._changed.notify_all()
        try:
            self._stopping.wait(self._session.delay_after(error))
        except ArenaError as final:
            with self._changed:
                self._error = final
                self._changed.notify_all()
            self._stopping.set()
