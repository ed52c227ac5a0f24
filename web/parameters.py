"""What a request asks for: its pool, its block, its numbers, its filters."""

import re
from functools import partial
from typing import TypeVar

import msgspec
from aiohttp import web

from protocols.registry import NAMES
from protocols.types import NATIVE, PoolId, pool_id
from streams.json_input import InvalidJson, decode_json
from tables.views.memory import BlockRef
from web.errors import HttpError
from web.route_table import Parameter

LONGEST_NUMBER = 78
"""Digits of 2^256."""
QUOTED = 80
"""Characters of a parameter that an error repeats."""
POOL_ID = r"^0[xX]([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$"
ADDRESS = r"^0[xX][0-9a-fA-F]{40}$"
BLOCK = rf"^([0-9]{{1,{LONGEST_NUMBER}}}|0[xX][0-9a-fA-F]{{64}}|latest|safe|finalized)$"
SECONDS = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"
NATIVE_ALIAS = "0x" + "ee" * 20
"""The native coin as routers and aggregators spell it."""


def requested_pool(request: web.Request) -> PoolId:
    return parse_pool("id", request.match_info["id"])


def parse_pool(_: str, text: str) -> PoolId:
    if pool := pool_id(text):
        return pool
    raise HttpError(404, f"{_quoted(text)} is not a pool's id: 0x and 40 hex digits for V2 and V3, 64 for V4")


T = TypeVar("T")


async def decoded_body(request: web.Request, type_: type[T]) -> T:
    """Raises HttpError where it is not the JSON of such a value."""
    try:
        return decode_json(msgspec.json.Decoder(type_), await request.read())
    except InvalidJson as error:
        raise HttpError(400, f"the body cannot be read: {error}") from error


def parse_block(name: str, text: str) -> BlockRef | None:
    """None: the newest."""
    if not re.fullmatch(BLOCK, text):
        if text.isascii() and text.isdigit():
            raise HttpError(400, f"{name} has {len(text)} digits; it may have {LONGEST_NUMBER}")
        raise HttpError(400, f"{name}={_quoted(text)} is not a block: a number, a 0x hash, latest, safe or finalized")
    if text == "latest":
        return None
    return int(text) if text.isdigit() else text.lower()


def parse_number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise HttpError(400, f"{name}={_quoted(text)} is not a number")
    if len(text) > LONGEST_NUMBER:
        raise HttpError(400, f"{name} has {len(text)} digits; it may have {LONGEST_NUMBER}")
    return int(text)


def parse_token(name: str, text: str) -> str:
    """A lower-case address; the native coin's is 0x00…00."""
    if not re.fullmatch(ADDRESS, text):
        raise HttpError(400, f"{name}={_quoted(text)} is not an address: 0x and 40 hex digits")
    address = text.lower()
    return NATIVE if address == NATIVE_ALIAS else address


def _parse_seconds(name: str, text: str) -> float:
    if not re.fullmatch(SECONDS, text):
        raise HttpError(400, f"{name}={_quoted(text)} is not a number of seconds, such as 30 or 1.5")
    return float(text)


def _parse_choice(choices: tuple[str, ...], name: str, text: str) -> str:
    if text.lower() not in choices:
        raise HttpError(400, f"{name}={_quoted(text)} is none of {', '.join(choices)}")
    return text.lower()


def _parse_cursor(name: str, text: str) -> str:
    return text.lower()


def choice(name: str, choices: tuple[str, ...], description: str) -> Parameter[str]:
    return Parameter(name, {"type": "string", "enum": list(choices)}, description, partial(_parse_choice, choices))


POOL = Parameter(
    "id",
    {"type": "string", "pattern": POOL_ID},
    "A pool's id: the address of a V2 or V3 pool, the 32-byte id of a V4 pool.",
    parse_pool,
    location="path",
)
AT = Parameter(
    "at",
    {"type": "string", "pattern": BLOCK},
    "As of the end of this block in memory: its number, its hash, `latest`, `safe` or `finalized`.",
    parse_block,
)
MAX_AGE_S = Parameter(
    "max_age_s",
    {"type": "string", "pattern": SECONDS},
    "An answer as of an older block is refused with status 503.",
    _parse_seconds,
)
LIMIT = Parameter(
    "limit", {"type": "integer", "minimum": 0}, "So many pools at most; 5,000 is the most, 0 the default.", parse_number
)
CURSOR = Parameter("cursor", {"type": "string"}, "`next` of the page before.", _parse_cursor)
TOKEN = Parameter(
    "token",
    {"type": "string", "pattern": ADDRESS},
    "Pools of this token; given several times, pools of any of them. The native coin is 0x00…00 or 0xee…ee.",
    parse_token,
    repeatable=True,
)
PROTOCOL = choice("protocol", NAMES, "Pools of this protocol.")
STATUS = choice("status", ("live", "waiting"), "Pools with this status.")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= QUOTED else f"{text[:QUOTED]}…")
