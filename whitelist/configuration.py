"""The service's configuration: the tables of its TOML file. whitelist/ethereum.toml documents each key."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo, field_validator

from protocols.types import NATIVE, ProtocolName
from streams.nats.whitelist_decoder import Undecodable, protocol_name
from whitelist.configuration_values import (
    Address,
    AddressOrPoolId,
    FromArray,
    NodeUrl,
    NotNegative,
    Positive,
    PositiveCount,
    Share,
    SourceUrl,
    checked_hooks,
)

COINGECKO = "https://api.coingecko.com/api/v3/coins/list?include_platform=true"
HYPERLIQUID = "https://api.hyperliquid.xyz/info"
LIGHTER = "https://mainnet.zklighter.elliot.ai/api/v1/funding-rates"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CrossChain(_Table):
    enabled: bool = True
    url: SourceUrl = COINGECKO
    timeout_s: Positive = 30
    chains: Annotated[tuple[str, ...], FromArray] = ("ethereum", "base", "arbitrum-one")
    """CoinGecko's names."""
    min_chains: int = Field(default=2, validate_default=True)

    @field_validator("min_chains")
    @classmethod
    def _is_reachable(cls, min_chains: int, info: ValidationInfo) -> int:
        chains = set(info.data.get("chains", ()))
        if info.data.get("enabled") and not 1 <= min_chains <= len(chains):
            raise ValueError(f"{min_chains} is not between 1 and {len(chains)}, the number of chains that are named")
        return min_chains


class Hyperliquid(_Table):
    enabled: bool = True
    url: SourceUrl = HYPERLIQUID
    timeout_s: Positive = 15


class Lighter(_Table):
    enabled: bool = True
    url: SourceUrl = LIGHTER
    timeout_s: Positive = 15


class TopTransfers(_Table):
    enabled: bool = True
    url: NodeUrl | None = None
    """Of the node whose logs are counted; None: ARENA_RPC."""
    timeout_s: Positive = 300
    blocks: PositiveCount = 1000
    count: PositiveCount = 200


class TokenLists(_Table):
    enabled: bool = True
    urls: Annotated[tuple[SourceUrl, ...], FromArray] = Field(default=(), validate_default=True)
    timeout_s: Positive = 30
    choose: bool = True
    """False: the lists choose no tokens and only resolve symbols."""

    @field_validator("urls")
    @classmethod
    def _is_needed(cls, urls: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("enabled") and not urls:
            raise ValueError("no list is named")
        return urls


class Sources(_Table):
    """None: not asked."""

    cross_chain: CrossChain | None = None
    hyperliquid: Hyperliquid | None = None
    lighter: Lighter | None = None
    top_transfers: TopTransfers | None = None
    token_lists: TokenLists | None = None


class Trusted(_Table):
    address: Address
    symbol: str
    usd: Positive | None = None
    """Of one whole token; an anchor from which prices are propagated."""
    wraps_native: bool = False
    """Whether it is the wrapped native coin, so that both have one price."""


class Factory(_Table):
    protocol: str
    address: Address
    """Of the PoolManager for V4."""
    from_block: Annotated[int, Field(ge=0)] = 0

    @field_validator("protocol")
    @classmethod
    def _is_supported(cls, protocol: str) -> str:
        try:
            protocol_name(protocol)
        except Undecodable as error:
            raise ValueError(str(error)) from error
        return protocol

    @property
    def kind(self) -> ProtocolName:
        return protocol_name(self.protocol)


class Thresholds(_Table):
    v2: NotNegative = 2000
    v3: NotNegative = 2000
    v4: NotNegative = 1000

    def of(self, protocol: ProtocolName) -> float:
        """A protocol without a threshold of its own has the highest of the others."""
        by_name = {"v2": self.v2, "v3": self.v3, "v4": self.v4}
        return by_name.get(protocol, max(by_name.values()))


class Configuration(_Table):
    """Addresses are lower-case."""

    chain_id: int | None = None
    """None: that of the node."""
    platform: str | None = None
    """CoinGecko's name of the chain; None: that of the chain id, if it is known."""
    native_symbol: str = "ETH"
    sources: Sources = Sources()
    trusted: Annotated[tuple[Trusted, ...], FromArray] = ()
    blocked: Annotated[tuple[AddressOrPoolId, ...], FromArray] = ()
    factories: Annotated[tuple[Factory, ...], FromArray]
    thresholds_usd: Thresholds = Thresholds()
    hooks: Annotated[Literal["none", "all"] | tuple[str, ...], PlainValidator(checked_hooks)] = "none"
    hysteresis: Share = 0.2
    removal_share: Share = 0.2
    price_depth_usd: NotNegative = 500
    price_tolerance: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 2.0
    every_s: Positive = 3600

    @field_validator("factories")
    @classmethod
    def _have_one_protocol_each(cls, factories: tuple[Factory, ...]) -> tuple[Factory, ...]:
        if not factories:
            raise ValueError("none is named, so there is nowhere to look for pools")
        _check_protocols(factories)
        return factories

    @field_validator("trusted")
    @classmethod
    def _have_one_wrapped_native(cls, trusted: tuple[Trusted, ...]) -> tuple[Trusted, ...]:
        wrapped = {token.address for token in trusted if token.wraps_native}
        if len(wrapped) > 1:
            raise ValueError(f"wraps_native is true for {len(wrapped)} tokens: {', '.join(sorted(wrapped))}")
        return trusted

    def allows_hooks(self, hooks: str) -> bool:
        if isinstance(self.hooks, str):
            return hooks == NATIVE or self.hooks == "all"
        return hooks == NATIVE or hooks in self.hooks


def _check_protocols(factories: Sequence[Factory]) -> None:
    """A factory that is named twice is harmless, one with two protocols is a mistake."""
    known: dict[str, tuple[int, ProtocolName]] = {}
    for at, factory in enumerate(factories):
        first, protocol = known.setdefault(factory.address, (at, factory.kind))
        if factory.kind != protocol:
            raise ValueError(
                f"factories[{at}].protocol is {factory.kind}, and factories[{first}] has the same address as {protocol}"
            )
