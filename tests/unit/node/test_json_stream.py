import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.node.transport.json_stream import JsonStream

TEXT = st.text(st.sampled_from('"\\{}[], aé\u2028'), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
MESSAGE = st.lists(JSON, max_size=4) | st.dictionaries(TEXT, JSON, max_size=4)


@given(st.lists(MESSAGE, min_size=1, max_size=5), st.sampled_from(["", "\n", " \r\n"]), st.booleans(), st.data())
def test_values_come_out_whole_however_the_bytes_arrive(
    messages: list[Any], separator: str, ascii_only: bool, data: st.DataObject
) -> None:
    sent = separator.join(json.dumps(message, ensure_ascii=ascii_only) for message in messages).encode()
    stream = JsonStream()
    received = []
    position = 0
    while position < len(sent):
        size = data.draw(st.integers(1, 20))
        received += stream.feed(sent[position : position + size])
        position += size

    assert [json.loads(value) for value in received] == messages
    assert stream.size == 0


def test_a_value_is_handed_out_with_its_last_byte() -> None:
    stream = JsonStream()

    assert stream.feed(b'{"a":[1') == []
    assert stream.feed(b"]}") == [b'{"a":[1]}']


def test_the_bytes_of_an_unfinished_value_are_counted() -> None:
    stream = JsonStream()
    for _ in range(10):
        stream.feed(b'["' + b"x" * 1000)

    assert stream.size == 10 * 1002


def test_bytes_that_are_no_json_are_an_error_where_values_must_be_separated() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        JsonStream().feed(b"}{nonsense}{}")


def test_an_answer_in_many_small_chunks_takes_no_longer_than_its_bytes() -> None:
    """Chunks that end like a value end are no reason to look at the earlier ones again."""
    item = json.dumps({"data": "0x" + "00" * 60}).encode()
    small, large = (b"[" + b",".join([item] * count) + b"]" for count in (2_000, 16_000))

    def seconds(message: bytes) -> float:
        stream, started = JsonStream(), time.process_time()
        values = [value for at in range(0, len(message), 136) for value in stream.feed(message[at : at + 136])]
        assert values == [message]
        return time.process_time() - started

    assert min(seconds(large) for _ in range(3)) < 4 * 8 * min(seconds(small) for _ in range(3))
