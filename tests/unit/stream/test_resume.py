"""Readers that resume, and readers of final blocks, over random chains with reorgs and crashes."""

from copy import deepcopy

import pytest

from protocols.types import Block
from tests.unit.stream.test_assembly import Mirror, Trial
from web.stream.chain.channel import Channel


class Recorded(Trial):
    """Keeps what a reader has at each block that it saw, and follows the chain by channels as readers do."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, faults=False)
        self.seen: dict[Block, Mirror] = {}
        self.final = 0
        self.instant, self.delayed = Channel(self.timeline), Channel(self.timeline, lambda: self.final)
        self.late = Mirror()

    def poll(self, most: int) -> None:
        first = len(self.steps)
        super().poll(most)
        for step in self.steps[first:]:
            if self.timeline.step(self.timeline.end - 1) is step:
                self.seen[Block(step.head.number, step.head.hash)] = deepcopy(self.mirror)
        if self.instant.head is None:
            self.instant.start()
        self.instant.advance()
        if self.timeline.head:
            newest = self.timeline.head.number
            self.final = max(self.final, newest - self.random.randint(11, 14))
        self.follow_final()

    def follow_final(self) -> None:
        if self.delayed.head is None and self.delayed.start():
            self.late.begin(self.delayed)
        while steps := self.delayed.advance():
            for step in steps:
                assert step.head.number <= self.final
                self.late.fold_late(step, self.delayed)
                self.late.check_states(self.world)


@pytest.mark.parametrize("seed", range(40))
def test_a_reader_resumes_from_any_block_that_it_saw(seed: int) -> None:
    trial = Recorded(seed)
    trial.run(crashes=0.2)

    for seen, mirror in trial.seen.items():
        steps = trial.instant.resume(seen, ticks=True)
        if steps is None:
            assert trial.timeline.arrival(seen) is None
            continue
        for step in steps:
            mirror.fold(step, trial.timeline)
            mirror.check(trial.world)
        assert (mirror.head, mirror.pools, mirror.ticks) == (trial.mirror.head, trial.mirror.pools, trial.mirror.ticks)


@pytest.mark.parametrize("seed", range(40))
def test_final_blocks_are_exact_and_never_beyond_the_limit(seed: int) -> None:
    trial = Recorded(seed)

    trial.run(crashes=0.2)

    head = trial.delayed.head
    assert head is None or trial.late.head == (head.number, head.hash)


def test_what_was_never_a_head_needs_a_snapshot() -> None:
    trial = Recorded(1)
    trial.run(crashes=0)

    tip = trial.timeline.head
    assert tip is not None
    for block in (Block(tip.number + 1, "0x" + "12" * 32), Block(tip.number, "0x" + "34" * 32), Block(0, "")):
        assert trial.instant.resume(block, ticks=False) is None
    assert trial.instant.resume(Block(tip.number + 1, tip.hash), ticks=False) is None
