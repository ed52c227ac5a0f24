"""The symbols of Hyperliquid's active perpetuals. kPEPE is 1000 PEPE. Pure."""

import re
from typing import Any

import msgspec

from streams.json_input import InvalidJson, decode_json
from whitelist.sources.query import SourceFailed, SourceRequest

REQUEST = SourceRequest("/info", b'{"type":"metaAndAssetCtxs"}')
_THOUSANDS = re.compile("k([A-Z][A-Z0-9]+)")


class _Perpetual(msgspec.Struct):
    name: str
    isDelisted: bool = False


class _Meta(msgspec.Struct):
    universe: list[_Perpetual]


class _Context(msgspec.Struct):
    dayNtlVlm: str | float | None = None
    openInterest: str | float | None = None

    @property
    def is_idle(self) -> bool:
        return _is_zero(self.dayNtlVlm) and _is_zero(self.openInterest)


_answers = msgspec.json.Decoder(tuple[_Meta, list[_Context]])


def parse(body: bytes) -> list[str]:
    """Raises SourceFailed."""
    try:
        meta, contexts = decode_json(_answers, body)
    except InvalidJson as error:
        raise SourceFailed(f"the answer is not metaAndAssetCtxs: {error}") from error
    if len(meta.universe) != len(contexts):
        raise SourceFailed(f"the answer has {len(meta.universe)} perpetuals and contexts for {len(contexts)}")
    symbols = [
        _symbol(perpetual.name)
        for perpetual, context in zip(meta.universe, contexts, strict=True)
        if not perpetual.isDelisted and not context.is_idle
    ]
    if not symbols:
        raise SourceFailed(f"none of {len(meta.universe)} perpetuals is active")
    return sorted(set(symbols))


def _symbol(name: str) -> str:
    thousands = _THOUSANDS.fullmatch(name)
    return thousands[1] if thousands else name.upper()


def _is_zero(number: Any) -> bool:
    try:
        return number is not None and float(number) == 0
    except ValueError as error:
        raise SourceFailed(f"{number!r} is not a number") from error
