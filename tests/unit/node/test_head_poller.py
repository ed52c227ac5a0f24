import pytest

from streams.node.blocks import NodeHeader
from streams.node.client import Node
from streams.node.head_poller import HeadPoller
from streams.node.transport.http import HttpTransport
from streams.secret_url import SecretUrl


def header(number: int, timestamp: int) -> NodeHeader:
    return NodeHeader(number, f"0x{number:064x}", f"0x{number - 1:064x}", timestamp, None)


def poller_on_blocks(*timestamps: int) -> HeadPoller:
    poller, last = HeadPoller(Node(SecretUrl("http://127.0.0.1:9"), HttpTransport("http://127.0.0.1:9", 1))), None
    for number, timestamp in enumerate(timestamps):
        poller.learn_block_time(last, header(number, timestamp))
        last = header(number, timestamp)
    return poller


@pytest.mark.parametrize(("block_time_s", "interval_s"), [(12, 0.6), (2, 0.1), (0, 0.05), (45, 1.0)])
def test_the_poll_interval_follows_the_block_time(block_time_s: int, interval_s: float) -> None:
    poller = poller_on_blocks(*(1000 + block_time_s * number for number in range(50)))

    assert poller.interval_s == pytest.approx(interval_s, rel=0.05)


def test_the_first_block_after_a_long_pause_does_not_slow_the_polls() -> None:
    before = poller_on_blocks(*range(0, 100, 2))
    after = poller_on_blocks(*range(0, 100, 2), 90_000)

    assert after.interval_s == before.interval_s


def test_a_head_with_a_lower_number_does_not_count() -> None:
    poller = poller_on_blocks(100, 102)
    before = poller.interval_s

    poller.learn_block_time(header(9, 500), header(8, 100))

    assert poller.interval_s == before
