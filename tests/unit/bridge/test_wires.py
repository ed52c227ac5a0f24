"""What the bridge does with the bytes of either wire, up to whole steps."""

import json

import pytest
from msgspec.structs import replace

from streams.bridge.feed_reader import ControlWire, SeedWire, StepLost
from streams.exex.control_encoder import encode
from streams.exex.control_messages import BeginBlock, Message, ReorgComplete, ReorgRange, ReorgStart, Skipped
from streams.exex.steps import AssembledBlock, AssembledReorg
from tests.support.files import FRAMES
from tests.unit.exex.test_assembly import block, fed, numbered, reorg

SEED = {
    golden["name"]: bytes.fromhex(golden["hex"])
    for golden in map(json.loads, (FRAMES / "seed.jsonl").read_text().splitlines())
}


def test_the_seed_wire_goes_on_after_an_amount_that_no_contract_can_hold() -> None:
    wire = SeedWire()

    steps = [*wire.receive(SEED["Mint"] + SEED["Mint_extreme"] + SEED["Burn"]), *wire.flush()]

    lost, block = steps
    assert lost == StepLost(in_reorg=False)
    assert isinstance(block, AssembledBlock)
    assert block.number == 21234568


def received(messages: list[Message]) -> list[object]:
    wire = ControlWire()
    return [step for message in messages if not isinstance(message, Skipped) for step in wire.receive(encode(message))]


IMPOSSIBLE_START = ReorgStart(0, ReorgRange(5, 6, 3), ReorgRange(5, 6, 2))
REORG = reorg([(5, [])], [(5, []), (6, [])])
TIPLESS = [*REORG[:-1], ReorgComplete(0, 9)]


@pytest.mark.parametrize(
    ("broken", "lost"),
    [
        (block(5, [])[1:], StepLost(in_reorg=False)),
        ([BeginBlock(0, 5, 1005, 7, True)], StepLost(in_reorg=False)),
        ([IMPOSSIBLE_START], StepLost(in_reorg=False)),
        (TIPLESS, StepLost(in_reorg=True)),
        (REORG[3:], StepLost(in_reorg=True)),
        ([*REORG[:2], *REORG], StepLost(in_reorg=True)),
    ],
)
def test_what_a_violation_costs_is_a_step_lost_and_the_next_block_is_read(
    broken: list[Message], lost: StepLost
) -> None:
    steps = received(numbered([*block(4, []), *broken, *block(7, [])]))

    assert steps[0] == fed(4, [])
    assert lost in steps
    assert steps[-1] == fed(7, [])
    assert all(isinstance(step, StepLost | AssembledBlock | AssembledReorg) for step in steps)


def test_an_impossible_reorg_start_that_comes_again_and_again_is_refused_each_time() -> None:
    steps = received(numbered([*block(4, []), *[IMPOSSIBLE_START] * 3, *block(5, [])]))

    assert steps == [fed(4, []), *[StepLost(in_reorg=False)] * 3, fed(5, [])]


def test_a_sequence_that_is_0_again_and_again_ends_nothing() -> None:
    zeros = [replace(message, stream_seq=0) for message in block(5, []) * 3]

    steps = received([*numbered(block(4, [])), *zeros, *numbered(block(5, []), first=3)])

    assert steps[0] == fed(4, [])
    assert steps[-1] == fed(5, [])
