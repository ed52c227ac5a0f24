"""CoinGecko's list of all coins with their addresses: what is on several chains, and which address a symbol has."""

from collections.abc import Collection, Sequence

import msgspec

from streams.json_input import InvalidJson, decode_json
from whitelist.sources.addresses import address
from whitelist.sources.query import Question, SourceFailed

QUESTION = Question("/api/v3/coins/list?include_platform=true")


class Coin(msgspec.Struct, frozen=True):
    id: str
    symbol: str | None = None
    platforms: dict[str, str | None] | None = {}
    """Chain to address; empty, or None, for a coin with a chain of its own."""

    def on(self, chain: str) -> str | None:
        return (self.platforms or {}).get(chain)

    @property
    def is_anywhere(self) -> bool:
        return any((self.platforms or {}).values())


_coins = msgspec.json.Decoder(list[Coin])


def read(body: bytes) -> list[Coin]:
    """Raises SourceFailed, also for a list on which no coin has an address: the question or the answer is not whole."""
    try:
        coins = decode_json(_coins, body)
    except InvalidJson as error:
        raise SourceFailed(f"the answer is no list of coins: {error}") from error
    if not any(coin.is_anywhere for coin in coins):
        raise SourceFailed(f"the answer names {len(coins)} coins and not one address")
    return coins


def on_several_chains(coins: Sequence[Coin], chains: Collection[str], least: int) -> list[Coin]:
    return [coin for coin in coins if sum(bool(coin.on(chain)) for chain in set(chains)) >= least]


def address_on(coin: Coin, platform: str) -> str | None:
    """None where it has none there, or one that no EVM chain can have."""
    return address(coin.on(platform) or "")
