"""What a request for a quote or for depth asks for."""

import re

from protocols.quotes.depth import MOST_POINTS
from tables.views.markets import Swap
from web.errors import HttpError
from web.parameters import ADDRESS, LONGEST_NUMBER, parse_number, parse_token
from web.route_table import Parameter

AMOUNT = rf"^[0-9]{{1,{LONGEST_NUMBER}}}$"
DEFAULT_POINTS = 200


def parse_amount(name: str, text: str) -> int:
    if not re.fullmatch(AMOUNT, text):
        return parse_number(name, text)
    return int(text)


def _parse_points(name: str, text: str) -> int:
    points = parse_number(name, text)
    if not 1 <= points <= MOST_POINTS:
        raise HttpError(400, f"{name}={text[:20]} is not 1 to {MOST_POINTS}")
    return points


TOKEN_IN = Parameter(
    "token_in",
    {"type": "string", "pattern": ADDRESS},
    "The token that goes in: one of the pool's two. The native coin is 0x00…00 or 0xee…ee.",
    parse_token,
    is_required=True,
)
AMOUNT_IN = Parameter(
    "amount_in",
    {"type": "string", "pattern": AMOUNT},
    "An exact input, in the token's smallest unit. Either this or `amount_out`.",
    parse_amount,
)
AMOUNT_OUT = Parameter(
    "amount_out", {"type": "string", "pattern": AMOUNT}, "An exact output, in the token's smallest unit.", parse_amount
)
PRICE_LIMIT = Parameter(
    "price_limit",
    {"type": "string", "pattern": AMOUNT},
    "A sqrt price as Q64.96, where the swap stops with part of the amount. V2 pairs have none.",
    parse_amount,
)
POINTS = Parameter(
    "points",
    {"type": "integer", "minimum": 1, "maximum": MOST_POINTS},
    f"So many points on each side at most; {DEFAULT_POINTS} where it is not given.",
    _parse_points,
)


def swap_of(token_in: str, amount_in: int | None, amount_out: int | None, price_limit: int | None) -> Swap:
    """Raises HttpError 400 where not just one amount is given."""
    if amount_in is not None and amount_out is None:
        return Swap(token_in, amount_in, False, price_limit)
    if amount_out is not None and amount_in is None:
        return Swap(token_in, amount_out, True, price_limit)
    raise HttpError(400, "just one of amount_in and amount_out must be given")
