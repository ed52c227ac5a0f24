"""The topics of a round, replayed without a worker and compared with the chain."""

from collections.abc import Sequence

from lab.devnet.chain.blocks import MinedBlock
from lab.devnet.chain.contracts import Pool
from lab.devnet.reference.reader import ReferenceReader, field_differences, tick_differences
from protocols.types import Block
from replay.run import Task, replay_topics
from settings import Settings


def replay_differences(
    settings: Settings, reference: ReferenceReader, pools: Sequence[Pool], tip: MinedBlock
) -> list[str]:
    """A sentence for each listed pool that the replay has not live, and for each field and tick that differs."""
    task = Task(settings.chain, Block(tip.number, tip.hash), pools=None, history_from=None)
    lines = {line.id: line for line in replay_topics(settings, task, lambda _: None).lines}
    found = []
    for pool in pools:
        line = lines.get(pool.id)
        if line is None or line.state is None:
            found.append(f"replay, {pool.id}: not live: {line.reason if line else 'not listed'}")
            continue
        truth = reference.truth(pool, tip.hash)
        differences = field_differences({**line.state, **_unknown_fees(line.state, truth.fields)}, truth)
        if pool.protocol != "v2":
            differences += tick_differences(line.ticks or [], truth)
        found += [f"replay, {pool.id}: {each}" for each in differences]
    return found


def _unknown_fees(state: dict[str, object], truth: dict[str, int]) -> dict[str, int]:
    """Fees are as of the last snapshot: where there is none, they are not compared."""
    return {name: truth[name] for name in ("lp_fee", "protocol_fee") if name in truth and state.get(name) is None}
