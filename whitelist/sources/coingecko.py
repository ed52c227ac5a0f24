"""CoinGecko's list of all coins with their addresses per chain. Pure."""

from collections.abc import Collection, Sequence

import msgspec

from streams.json_input import InvalidJson, decode_json
from whitelist.sources.query import SourceFailed, SourceRequest, parse_address

REQUEST = SourceRequest("/api/v3/coins/list?include_platform=true")


class Coin(msgspec.Struct, frozen=True):
    id: str
    symbol: str | None = None
    platforms: dict[str, str | None] | None = {}
    """Chain to address; empty or None for a coin with a chain of its own."""

    def on(self, chain: str) -> str | None:
        return (self.platforms or {}).get(chain)

    @property
    def has_address(self) -> bool:
        return any((self.platforms or {}).values())


_coins = msgspec.json.Decoder(list[Coin])


def parse(body: bytes) -> list[Coin]:
    """Raises SourceFailed, also where no coin has an address: the answer is then not complete."""
    try:
        coins = decode_json(_coins, body)
    except InvalidJson as error:
        raise SourceFailed(f"the answer is not a list of coins: {error}") from error
    if not any(coin.has_address for coin in coins):
        raise SourceFailed(f"the answer names {len(coins)} coins without a single address")
    return coins


def on_several_chains(coins: Sequence[Coin], chains: Collection[str], min_chains: int) -> list[Coin]:
    return [coin for coin in coins if sum(bool(coin.on(chain)) for chain in set(chains)) >= min_chains]


def address_on(coin: Coin, platform: str | None) -> str | None:
    """None where the coin has no address on `platform`, or one that no EVM chain can have."""
    return None if platform is None else parse_address(coin.on(platform) or "")
