"""The pools of the partitions that this worker owns, as one mapping: what agents and views read of the pool table."""

from collections.abc import Iterator, Mapping

from protocols.types import PoolId, pool_id
from tables.partition import Partition
from tables.pool import Pool


class OwnedPools(Mapping[PoolId, Pool]):
    """Each pool as of its partition's head. A key is an id in any case, as text or bytes."""

    def __init__(self, partitions: Mapping[int, Partition]) -> None:
        self._partitions = partitions

    def __getitem__(self, key: object) -> Pool:
        pool = self._find(key)
        if pool is None:
            raise KeyError(key)
        return pool

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not None

    def __iter__(self) -> Iterator[PoolId]:
        """Over the pools of this moment, though some come and go meanwhile."""
        return iter([pool for partition in self._partitions.values() for pool in partition.pools])

    def __len__(self) -> int:
        return sum(len(partition.pools) for partition in self._partitions.values())

    def _find(self, key: object) -> Pool | None:
        text = key.decode(errors="replace") if isinstance(key, bytes) else key
        found = pool_id(text) if isinstance(text, str) else None
        pools = (partition.pools.get(found) for partition in self._partitions.values()) if found else iter(())
        return next((pool for pool in pools if pool is not None), None)
