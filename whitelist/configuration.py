"""What the service is told to do, from one TOML file; whitelist/ethereum.toml says what each key means."""

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from protocols.types import NATIVE, ProtocolName
from settings import Settings
from streams.nats.whitelist_decoder import Undecodable, protocol_name
from whitelist.configuration_checks import (
    Wrong,
    check_address,
    check_blocked,
    check_factories,
    check_number,
    check_share,
    check_url,
    sentence,
)

ETHEREUM = Path(__file__).with_name("ethereum.toml")
COINGECKO = "https://api.coingecko.com/api/v3/coins/list?include_platform=true"
HYPERLIQUID = "https://api.hyperliquid.xyz/info"
LIGHTER = "https://mainnet.zklighter.elliot.ai/api/v1/funding-rates"


class Misconfigured(Exception):
    """The sentence names the file, the key and what is wrong with it."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class CrossChain(_Table, frozen=True):
    enabled: bool = True
    url: str = COINGECKO
    timeout_s: float = 30
    chains: tuple[str, ...] = ("ethereum", "base", "arbitrum-one")
    """As CoinGecko names them."""
    min_chains: int = 2


class Hyperliquid(_Table, frozen=True):
    enabled: bool = True
    url: str = HYPERLIQUID
    timeout_s: float = 15


class Lighter(_Table, frozen=True):
    enabled: bool = True
    url: str = LIGHTER
    timeout_s: float = 15


class TopTransfers(_Table, frozen=True):
    enabled: bool = True
    url: str | None = None
    """Of the node whose logs are counted; None: the one of the settings."""
    timeout_s: float = 300
    blocks: int = 1000
    count: int = 200


class TokenLists(_Table, frozen=True):
    enabled: bool = True
    urls: tuple[str, ...] = ()
    """Paths are relative to the file that names them."""
    timeout_s: float = 30
    choose: bool = True
    """False: the lists choose no tokens, they only say which address a symbol is."""


class Sources(_Table, frozen=True):
    """None: not asked."""

    cross_chain: CrossChain | None = None
    hyperliquid: Hyperliquid | None = None
    lighter: Lighter | None = None
    top_transfers: TopTransfers | None = None
    token_lists: TokenLists | None = None


class Trusted(_Table, frozen=True):
    address: str
    symbol: str
    usd: float | None = None
    """Of one whole token; prices spread from those that have it."""
    wraps_native: bool | None = None
    """Whether its price is the coin's; None: where its symbol is WETH."""

    @property
    def is_wrapped_native(self) -> bool:
        return self.symbol == "WETH" if self.wraps_native is None else self.wraps_native


class Factory(_Table, frozen=True):
    protocol: str
    address: str
    """Of the PoolManager for V4."""
    from_block: int = 0

    @property
    def kind(self) -> ProtocolName:
        return protocol_name(self.protocol)


class Thresholds(_Table, frozen=True):
    v2: float = 2000
    v3: float = 2000
    v4: float = 1000

    def of(self, protocol: ProtocolName) -> float:
        return {"v2": self.v2, "v3": self.v3, "v4": self.v4}[protocol]


class Configuration(_Table, frozen=True, kw_only=True):
    """Addresses are lower-case."""

    sources: Sources = Sources()
    trusted: tuple[Trusted, ...] = ()
    blocked: tuple[str, ...] = ()
    factories: tuple[Factory, ...]
    thresholds_usd: Thresholds = Thresholds()
    hooks: Literal["none", "all"] | tuple[str, ...] = "none"
    hysteresis: float = 0.2
    removal_share: float = 0.2
    price_depth_usd: float = 500
    price_tolerance: float = 2.0
    every_s: float = 3600
    platform: str | None = None

    def allows_hooks(self, hooks: str) -> bool:
        if isinstance(self.hooks, str):
            return hooks == NATIVE or self.hooks == "all"
        return hooks == NATIVE or hooks in self.hooks


def configured(settings: Settings) -> Configuration:
    """Raises Misconfigured."""
    if settings.whitelist_config is not None:
        return read(settings.whitelist_config)
    if settings.chain != "ethereum":
        raise Misconfigured(
            f"the defaults are those of Ethereum mainnet and this chain is {settings.chain!r}: name a file in "
            f"ARENA_WHITELIST_CONFIG ({ETHEREUM.name} beside {Path(__file__).name} is one to begin with)"
        )
    return read(ETHEREUM)


def read(path: Path) -> Configuration:
    """Raises Misconfigured."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        raw = msgspec.convert(table, Configuration)
        _check(raw)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path} is no UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} is no TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{path}: {sentence(str(error))}") from error
    except Wrong as error:
        raise Misconfigured(f"{path}: {error}") from error
    return _normal(raw, path.parent)


def _check(configuration: Configuration) -> None:
    for at, trusted in enumerate(configuration.trusted):
        check_address(f"trusted[{at}].address", trusted.address)
        if trusted.usd is not None:
            check_number(f"trusted[{at}].usd", trusted.usd, above=0)
    for at, factory in enumerate(configuration.factories):
        _check_factory(f"factories[{at}]", factory)
    check_factories([(factory.address, factory.kind) for factory in configuration.factories])
    for at, blocked in enumerate(configuration.blocked):
        check_blocked(f"blocked[{at}]", blocked)
    for at, address in enumerate(() if isinstance(configuration.hooks, str) else configuration.hooks):
        check_address(f"hooks[{at}]", address)
    for name in Thresholds.__struct_fields__:
        check_number(f"thresholds_usd.{name}", getattr(configuration.thresholds_usd, name), above=-1)
    check_number("every_s", configuration.every_s, above=0)
    check_number("price_depth_usd", configuration.price_depth_usd, above=-1)
    check_number("price_tolerance", configuration.price_tolerance, above=1)
    check_share("hysteresis", configuration.hysteresis)
    check_share("removal_share", configuration.removal_share)
    _check_sources(configuration.sources)


def _check_factory(key: str, factory: Factory) -> None:
    check_address(f"{key}.address", factory.address)
    check_number(f"{key}.from_block", factory.from_block, above=-1)
    try:
        protocol_name(factory.protocol)
    except Undecodable as error:
        raise Wrong(f"{key}.protocol: {error}") from error


def _check_sources(sources: Sources) -> None:
    for name in Sources.__struct_fields__:
        if (source := getattr(sources, name)) is not None:
            check_number(f"sources.{name}.timeout_s", source.timeout_s, above=0)
            if (url := getattr(source, "url", None)) is not None:
                check_url(f"sources.{name}.url", url)
    if (cross := sources.cross_chain) is not None and cross.enabled:
        named = len(set(cross.chains))
        if not 1 <= cross.min_chains <= named:
            raise Wrong(
                f"sources.cross_chain.min_chains is {cross.min_chains}, and sources.cross_chain.chains names {named}"
            )
    if (lists := sources.token_lists) is not None:
        if lists.enabled and not lists.urls:
            raise Wrong("sources.token_lists.urls names no list")
        for at, url in enumerate(lists.urls):
            check_url(f"sources.token_lists.urls[{at}]", url)
    if (top := sources.top_transfers) is not None:
        check_number("sources.top_transfers.blocks", top.blocks, above=0)
        check_number("sources.top_transfers.count", top.count, above=0)


def _normal(raw: Configuration, directory: Path) -> Configuration:
    changes: dict[str, Any] = {
        "trusted": tuple(replace(each, address=each.address.lower()) for each in raw.trusted),
        "factories": tuple(replace(each, address=each.address.lower()) for each in raw.factories),
        "blocked": tuple(each.lower() for each in raw.blocked),
        "sources": _with_paths(raw.sources, directory),
    }
    if not isinstance(raw.hooks, str):
        changes["hooks"] = tuple(each.lower() for each in raw.hooks)
    return replace(raw, **changes)


def _with_paths(sources: Sources, directory: Path) -> Sources:
    changes: dict[str, Any] = {}
    for name in ("cross_chain", "hyperliquid", "lighter"):
        if (source := getattr(sources, name)) is not None:
            changes[name] = replace(source, url=_located(source.url, directory))
    if (lists := sources.token_lists) is not None:
        changes["token_lists"] = replace(lists, urls=tuple(_located(url, directory) for url in lists.urls))
    return replace(sources, **changes)


def _located(url: str, directory: Path) -> str:
    """A path is relative to the file that names it."""
    return url if "://" in url else str(directory / url)
