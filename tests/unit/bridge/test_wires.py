"""What the bridge does with the bytes of either wire, up to whole steps."""

import json

from streams.bridge.feed_reader import SeedWire
from tests.support.files import FRAMES

SEED = {
    golden["name"]: bytes.fromhex(golden["hex"])
    for golden in map(json.loads, (FRAMES / "seed.jsonl").read_text().splitlines())
}


def test_the_seed_wire_goes_on_after_an_amount_that_no_contract_can_hold() -> None:
    wire = SeedWire()

    steps = [*wire.receive(SEED["Mint"] + SEED["Mint_extreme"] + SEED["Burn"]), *wire.flush()]

    assert [getattr(step, "number", None) for step in steps] == [21234568]
