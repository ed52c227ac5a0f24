from protocols.concentrated import Initialize
from protocols.decoding import Decoded
from protocols.registry import Event
from protocols.ticks import LiquidityChange
from protocols.types import Log, PoolId
from streams.exex.control_encoder import encode
from streams.feed.blocks import feed_block
from streams.node.blocks import NodeHeader

HEADER = NodeHeader(5, "0x" + "55" * 32, "0x" + "44" * 32, 1_700_000_000, None)


def log(transaction_index: int, log_index: int) -> Log:
    return Log("0x" + "aa" * 20, (), b"", transaction_index, log_index)


def test_initialize_is_left_out_and_the_log_index_counts_within_the_transaction() -> None:
    logs = [log(0, 0), log(0, 1), log(3, 2), log(3, 3), log(3, 4)]
    pool = PoolId("0x" + "aa" * 20)
    events: list[Event] = [Initialize(2**96, 0), LiquidityChange(-10, 10, 5), LiquidityChange(-10, 10, 0)]

    block = feed_block(
        HEADER, logs, [(each, Decoded("v3", pool, pool, event)) for each, event in zip(logs[2:], events, strict=True)]
    )

    assert [(update.tx_index, update.log_index, update.update_type) for update in block.updates] == [
        (3, 1, "mint"),
        (3, 2, "burn"),
    ]


def test_an_amount_beyond_i128_is_clamped_to_its_limit() -> None:
    pool = PoolId("0x" + "aa" * 20)
    huge = Decoded("v3", pool, pool, LiquidityChange(-10, 10, 2**128 - 1))

    (update,) = feed_block(HEADER, [log(0, 0)], [(log(0, 0), huge)]).updates

    assert update.event == LiquidityChange(-10, 10, 2**127 - 1)
    assert encode(update)
