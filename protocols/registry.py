"""Which DEXes there are, and what follows from the list: their names, and the unions of their events and states."""

from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias, Union

from protocols import types
from protocols.dex import Dex
from protocols.types import PoolId, ProtocolName

MODULES = (
    "v2",
    "v3",
    "v4",
)
"""Of this package; each declares a DEX."""
DEXES: tuple[Dex, ...] = tuple(import_module(f"protocols.{module}").DEX for module in MODULES)
NAMES: tuple[ProtocolName, ...] = tuple(dex.name for dex in DEXES)
_BY_NAME = {dex.name: dex for dex in DEXES}

if TYPE_CHECKING:
    Event: TypeAlias = types.Event
    PriceState: TypeAlias = types.PriceState
    State: TypeAlias = types.State
else:  # msgspec decodes a union by its tags
    Event = Union[tuple(event for dex in DEXES for event in dex.model.events)]  # noqa: UP007  made at run time
    PriceState = Union[tuple(dex.model.price for dex in DEXES)]  # noqa: UP007
    State = Union[tuple(dex.state for dex in DEXES)]  # noqa: UP007


class UnknownProtocol(ValueError):
    def __init__(self, name: str) -> None:
        super().__init__(f"protocol {name!r} is not followed; these are: {', '.join(NAMES)}")


def dex_of(name: ProtocolName) -> Dex:
    """Raises UnknownProtocol."""
    if name not in _BY_NAME:
        raise UnknownProtocol(name)
    return _BY_NAME[name]


def is_singleton(name: ProtocolName | None) -> bool:
    """Whether one contract keeps all pools of the DEX; False for a name that is None."""
    return name is not None and dex_of(name).is_singleton


def can_be(pool: PoolId, name: ProtocolName) -> bool:
    """By the id's length alone. Raises UnknownProtocol."""
    return len(pool) == dex_of(name).id_length


def protocol_of_id(pool: PoolId) -> ProtocolName | None:
    """The only DEX whose pools have ids of this length; None where there are several."""
    names = [dex.name for dex in DEXES if dex.id_length == len(pool)]
    return names[0] if len(names) == 1 else None
