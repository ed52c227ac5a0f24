"""A live mirror of pools, kept by a task."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Self

import httpx

from pool_state_arena_client.errors import ArenaError, NotInStep
from pool_state_arena_client.records import Block
from pool_state_arena_client.stream.events import Event
from pool_state_arena_client.stream.mirror_state import MirrorState
from pool_state_arena_client.stream.session import StreamSession

Connection = Callable[[StreamSession], AsyncGenerator[Event, None]]


class AsyncMirror(MirrorState):
    """Pools by id, equal to the server's at `block`. Reading raises NotInStep while that is not known.

    Between two awaits all reads are of one block.
    """

    def __init__(self, session: StreamSession, connection: Connection) -> None:
        super().__init__()
        self._session = session
        self._connection = connection
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow(), name="pool-state-arena mirror")
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError, ArenaError):
                await self._task

    async def wait_for_block(self, number: int = 0, timeout_s: float = 30.0) -> Block:
        """Until the mirror is in step, at that block or a later one. Raises NotInStep, and what ended the stream."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._has_ended or self._has_reached(number))
        except TimeoutError as error:
            raise NotInStep(f"the mirror is not at block {number} after {timeout_s:g} s") from error
        if self._task and self._has_ended:
            self._task.result()
        return self.block

    @property
    def _has_ended(self) -> bool:
        return self._task is not None and self._task.done()

    def _has_reached(self, number: int) -> bool:
        return self.is_in_step and self.block.number >= number

    async def _follow(self) -> None:
        try:
            while True:
                await self._follow_connection()
        finally:
            self.lose_step("the mirror is closed")
            asyncio.get_running_loop().call_soon(self._wake)

    async def _follow_connection(self) -> None:
        try:
            async with aclosing(self._connection(self._session)) as events:
                async for event in events:
                    self.apply(event)
                    async with self._changed:
                        self._changed.notify_all()
        except (ArenaError, httpx.TransportError) as error:
            self.lose_step(str(error) or type(error).__name__)
            await asyncio.sleep(self._session.delay_after(error))

    def _wake(self) -> None:
        """Those who wait see that the task has ended."""

        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._waking = asyncio.ensure_future(notify())
