"""The symbols of Lighter's perpetuals, from funding rates of several exchanges. 1000PEPE is 1000 PEPE. Pure."""

import re

import msgspec

from streams.json_input import InvalidJson, decode_json
from whitelist.sources.query import SourceFailed, SourceRequest

REQUEST = SourceRequest("/api/v1/funding-rates")
_THOUSANDS = re.compile("1000([A-Z][A-Z0-9]+)")


class _Rate(msgspec.Struct):
    exchange: str
    symbol: str


class _Rates(msgspec.Struct):
    funding_rates: list[_Rate]


_answers = msgspec.json.Decoder(_Rates)


def parse(body: bytes) -> list[str]:
    """Raises SourceFailed."""
    try:
        rates = decode_json(_answers, body).funding_rates
    except InvalidJson as error:
        raise SourceFailed(f"the answer has no funding rates: {error}") from error
    symbols = {_symbol(rate.symbol) for rate in rates if rate.exchange.lower() == "lighter"}
    if not symbols:
        raise SourceFailed(f"none of {len(rates)} funding rates is Lighter's")
    return sorted(symbols)


def _symbol(name: str) -> str:
    thousands = _THOUSANDS.fullmatch(name)
    return thousands[1] if thousands else name.upper()
