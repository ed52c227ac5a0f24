from aiokafka import ConsumerRecord


def record(topic: str, offset: int, value: bytes | None, key: bytes = b"k", partition: int = 0) -> ConsumerRecord:
    return ConsumerRecord(topic, partition, offset, 0, 0, key, value, None, len(key), len(value or b""), ())
