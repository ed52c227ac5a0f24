"""An expected error is one sentence; a bug keeps its traceback."""

from aiokafka.errors import KafkaConnectionError

from commands.errors import one_line
from commands.queries.worker_client import Unanswered
from streams.kafka.topic_checks import TopicMismatch


def test_an_expected_error_is_one_line_and_a_bug_has_its_traceback() -> None:
    ours = TopicMismatch("chain has 3 partitions and should have 8")

    assert one_line(ours) == "chain has 3 partitions and should have 8"
    assert one_line(BaseExceptionGroup("together", [ours])) == "chain has 3 partitions and should have 8"
    assert one_line(ZeroDivisionError("division by zero")) is None


def test_errors_defined_in_any_of_our_packages_are_recognised() -> None:
    assert one_line(Unanswered("no worker answers")) == "no worker answers"
    assert one_line(KafkaConnectionError("down")) == "KafkaConnectionError: down"
    assert one_line(PermissionError(13, "Permission denied", "/data")) == "[Errno 13] Permission denied: '/data'"
    assert one_line(KeyError("x")) is None
