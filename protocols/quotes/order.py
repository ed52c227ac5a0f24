"""What is asked of a quote and what it answers: orders, quotes, depth, and refusals with their reasons."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from protocols.types import PriceState

PIPS = 10**6
"""Fees are in hundredths of a basis point: this many are 100 %."""
MOST_AMOUNT = 2**255 - 1
"""The contracts take amounts as int256."""


class Order(msgspec.Struct, frozen=True):
    """A swap that nobody has sent."""

    zero_for_one: bool
    """Token0 goes in; else token1 does."""
    amount: int
    """In the token's smallest unit, 1 to MOST_AMOUNT: what goes in, or what comes out where `exact_out`."""
    exact_out: bool = False
    sqrt_price_limit_x96: int | None = None
    """The swap stops at this price, with part of the amount where it must. None: the whole amount or a refusal."""


class Quote(msgspec.Struct, frozen=True):
    """What the chain would settle for an order, to the wei."""

    zero_for_one: bool
    amount_in: int
    """With the fee."""
    amount_out: int
    fee_amount: int
    """Of the token that goes in; contained in `amount_in`. V4's has the protocol's part in it."""
    before: PriceState
    after: PriceState
    """With the same ticks it is the pool's state after the swap."""
    ticks_crossed: int
    """Initialised ticks."""


class RefusalKind(StrEnum):
    """Why a quote cannot be known from the state, or why the chain would revert the swap."""

    WAITING = "waiting"
    UNKNOWN_POOL = "unknown_pool"
    TOKEN = "token"
    AMOUNT = "amount"
    PRICE_LIMIT = "price_limit"
    LIQUIDITY = "liquidity"
    OVERFLOW = "overflow"
    HOOKS = "hooks"
    FEE_UNKNOWN = "fee_unknown"
    FEE_ON_TRANSFER = "fee_on_transfer"
    UNINITIALIZED = "uninitialised"
    NO_MODEL = "no_model"


class QuoteRefused(Exception):
    """No quote can be given."""

    def __init__(self, kind: RefusalKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class LiquidityEnds(QuoteRefused):
    """The pool cannot fill the whole order."""

    def __init__(self, most_amount_in: int, most_amount_out: int) -> None:
        super().__init__(
            RefusalKind.LIQUIDITY,
            f"the liquidity ends before the amount: at most {most_amount_in} goes in and {most_amount_out} comes out",
        )
        self.most_amount_in = most_amount_in
        self.most_amount_out = most_amount_out


class Market(Protocol):
    """One pool at one block, ready to be quoted; what it has looked up serves its next quotes too."""

    def quote(self, order: Order) -> Quote:
        """Raises QuoteRefused."""

    def depth(self, *, zero_for_one: bool, points: int) -> Sequence[Quote]:
        """Swaps of growing size in one direction, at most so many; each is what `quote` gives for its price limit."""


def check_amount(order: Order) -> None:
    """Raises QuoteRefused."""
    if not 0 < order.amount <= MOST_AMOUNT:
        raise QuoteRefused(RefusalKind.AMOUNT, f"no contract swaps an amount of {order.amount}")
