"""What the module of a DEX declares: its logs, states, how they change, reads for a snapshot, and wire rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from protocols.abi import AbiMismatch, EventAbi, FunctionAbi, call_data
from protocols.quotes.order import Market
from protocols.storage import Located, Slots, Words
from protocols.ticks import Ticks
from protocols.types import Event, Log, PoolId, PoolMetadata, PriceState, ProtocolName, State

ADDRESS_ID, SINGLETON_ID = 42, 66
"""Characters of a pool's id: an address, or the 32 bytes that a singleton calls it."""
UpdateType = Literal["swap", "mint", "burn"]


class PoolState(msgspec.Struct, frozen=True):
    """A pool's state as it is kept in memory."""

    price: PriceState
    ticks: Ticks
    """Empty for a pool that has none."""


class StateModel(msgspec.Struct, frozen=True):
    """How a kind of state is checked and changed; DEXes with the same rules share one."""

    price: type[PriceState]
    events: tuple[type[Event], ...]
    split: Callable[[PoolMetadata, State], PoolState]
    """A snapshot's state, not checked yet. Raises InvariantViolation where it cannot even be put in order."""
    check: Callable[[PoolState], None]
    """All invariants of a state. Raises InvariantViolation."""
    apply: Callable[[PoolState, Sequence[Event]], PoolState]
    """Events in log order. Raises InvariantViolation at the first that does not follow from the state before it."""
    compact: Callable[[Sequence[Event]], tuple[Event, ...]]
    """The events without those that later ones make redundant."""
    is_initialized: Callable[[PriceState], bool]
    spot_price: Callable[[PriceState], tuple[int, int]] | None = None
    """Token1 per token0, both in their smallest units, as numerator and denominator; 0 in either: there is none.
    None: the DEX has no such price."""
    locked: Callable[[PoolState], tuple[int, int]] | None = None
    """Token0 and token1 that swaps can take out at most, without fees that are not collected yet.
    None: they do not follow from the state."""


class Fees(msgspec.Struct, frozen=True):
    """Fees that a pool keeps apart from its price: read by snapshots, and changed by their own events."""

    lp_fee: int
    """Hundredths of a basis point."""
    protocol_fee: int
    """Two 12-bit halves: one for each direction."""
    block: int
    """The block at which they were read. The protocol's fee follows its events since; a dynamic `lp_fee` has none."""


class GetterCall(NamedTuple):
    address: str
    function: FunctionAbi
    arguments: tuple[int, ...] = ()

    @property
    def calldata(self) -> bytes:
        return call_data(self.function, self.arguments)


Outputs = Sequence[Sequence[int]]
"""What getters answer: for each call the values of its outputs."""


class Reads(msgspec.Struct, frozen=True):
    """How a pool's state is read. `emitter` is the contract that emits its logs: itself, or the singleton."""

    price_calls: Callable[[PoolId, str], Sequence[GetterCall]]
    price: Callable[[Outputs], PriceState]
    """From the answers to `price_calls`. Raises NotAPool."""
    identity_calls: Callable[[PoolId, str], Sequence[GetterCall]]
    identify: Callable[[PoolMetadata, Outputs], State | Located]
    """From the answers to `identity_calls`: all there is, or where the rest is. Raises NotAPool."""
    state: Callable[[Words], State] | None = None
    """From the words that `identify` locates. Raises NotAPool."""
    slots: Callable[[Slots, int, int], Slots] = lambda slots, _price, _after_price: slots
    """The slots by what stands in those of the price and after it. Raises NotAPool."""
    has_fork_layout: bool = False
    """Whether the reading program has to choose between two layouts, as `slots` does."""
    tick_spacing: FunctionAbi | None = None
    """The pool's own getter of it."""
    slots_getter: FunctionAbi | None = None
    """`extsload(bytes32[])` or the like: reads many slots in one call."""


class Creation(msgspec.Struct, frozen=True):
    """The log by which a factory or a singleton creates a pool: which of its arguments are what."""

    log: EventAbi
    pool: str
    token0: str = "token0"
    token1: str = "token1"
    fee: str | None = None
    tick_spacing: str | None = None
    hooks: str | None = None
    count: FunctionAbi | None = None
    """The factory's own getter of how many pools it has created."""


class WireUpdate(msgspec.Struct, frozen=True):
    """A row of the control wire's `PoolUpdate`."""

    tag: int
    name: str
    update_types: tuple[UpdateType, ...]
    event: type[Event]
    fields: str
    """`name:type` of each field of the event, in wire order; the types are those of `streams.exex.bincode`."""


class WireFinal(msgspec.Struct, frozen=True):
    """A row of the control wire's `ReorgEpilogueUpdate`: price or reserves at the tip of a reorg."""

    tag: int
    name: str
    fields: str
    """As in WireUpdate, of the DEX's PriceState."""
    has_protocol: bool
    """Whether the protocol stands between the pool and the fields."""


class WireRows(msgspec.Struct, frozen=True):
    protocol: int
    """The wire's tag of Protocol."""
    updates: tuple[WireUpdate, ...]
    final: WireFinal


class Dex(msgspec.Struct, frozen=True):
    name: ProtocolName
    logs: Mapping[EventAbi, Callable[[Mapping[str, int]], Event]]
    """Every log that changes a pool's state, and what makes an event of its arguments."""
    state: type[State]
    model: StateModel
    reads: Reads
    creation: Creation
    foreign_logs: Mapping[EventAbi, str] = {}
    """Logs of contracts with the same getters and other rules, and what emits them: such a pool is refused."""
    wire: WireRows | None = None
    """None: no feed sends updates of this DEX."""
    market: Callable[[PoolMetadata, PoolState, Fees | None], Market] | None = None
    """A pool's state made ready for quotes; None where swaps are not modelled. Raises QuoteRefused."""
    fees: Callable[[State, int], Fees] | None = None
    """Of a snapshot's state at a block; None for a DEX whose fees follow from its whitelist entry."""
    reserves: Callable[[State], tuple[int, int]] | None = None
    """What trades can take out of a pool without ticks, of either token; None for a DEX with ticks."""
    is_singleton: bool = False
    """One contract keeps all pools and names each in topic1; else each pool is a contract."""

    def pool_of(self, log: Log) -> PoolId:
        """Raises AbiMismatch for a singleton's log that names no pool."""
        if not self.is_singleton:
            return PoolId(log.address)
        if len(log.topics) < 2:
            raise AbiMismatch("no topic1 to name the pool")
        return PoolId("0x" + log.topics[1].hex())

    def created_pool(self, arguments: Mapping[str, int]) -> PoolId:
        """The pool that a log of `creation` with these arguments creates."""
        return PoolId(f"0x{arguments[self.creation.pool]:0{self.id_length - 2}x}")

    @property
    def id_length(self) -> int:
        return SINGLETON_ID if self.is_singleton else ADDRESS_ID

    @property
    def has_ticks(self) -> bool:
        return self.reads.state is not None
