"""The option `--pools`: ids by comma."""

import click

from protocols.types import PoolId, pool_id


def pool_ids(ids: str | None) -> frozenset[PoolId] | None:
    """None where the option is not given: all pools. Raises `click.BadParameter`."""
    if ids is None:
        return None
    found = {each: pool_id(each) for each in ids.split(",")}
    for each, pool in found.items():
        if pool is None:
            raise click.BadParameter(f"{each!r} is not a pool's id", param_hint="--pools")
    return frozenset(pool for pool in found.values() if pool is not None)
