from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.topics import partition_of


@given(st.binary(), st.integers(1, 64))
def test_a_partition_number_is_always_in_range(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


def test_partitions_equal_those_of_the_java_client() -> None:
    """murmur2 of org.apache.kafka.common.utils.UtilsTest, made positive."""
    assert partition_of(b"21", 2**31) == -973932308 & 0x7FFFFFFF
    assert partition_of(b"foobar", 2**31) == -790332482 & 0x7FFFFFFF
    assert partition_of(b"a-little-bit-long-string", 2**31) == -985981536 & 0x7FFFFFFF
