"""The configuration file: its values, its defaults, and a sentence for each mistake."""

import re
from pathlib import Path

import pytest

from settings import Settings
from whitelist.configuration import Configuration
from whitelist.configuration_file import ETHEREUM, Misconfigured, load_configuration, read_configuration

FACTORY = '[[factories]]\nprotocol = "v2"\naddress = "0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f"\nfrom_block = 7\n'

TWO_WRAPPED = "".join(
    f"[[trusted]]\naddress = '0x{digits * 20}'\nsymbol = 'X'\nwraps_native = true\n" for digits in ("ab", "cd")
)


def written(directory: Path, text: str) -> Path:
    path = directory / "whitelist.toml"
    path.write_text(text)
    return path


def test_the_defaults_equal_the_file_that_is_shipped() -> None:
    found = read_configuration(ETHEREUM)
    bare = Configuration(
        chain_id=1, platform="ethereum", factories=found.factories, trusted=found.trusted, sources=found.sources
    )

    assert found == bare
    assert {factory.kind for factory in found.factories} == {"v2", "v3", "v4"}
    addresses = [factory.address for factory in found.factories] + [token.address for token in found.trusted]
    assert all(address == address.lower() for address in addresses)
    assert [each.symbol for each in found.trusted if each.wraps_native] == ["WETH"]


def test_a_key_that_is_left_out_has_its_default(tmp_path: Path) -> None:
    found = read_configuration(written(tmp_path, f"[sources.lighter]\ntimeout_s = 3\n{FACTORY}"))

    assert found.sources.lighter is not None
    assert (found.sources.lighter.enabled, found.sources.lighter.timeout_s) == (True, 3)
    assert found.sources.hyperliquid is None
    assert (found.thresholds_usd.v2, found.thresholds_usd.v3, found.thresholds_usd.v4) == (2000, 2000, 1000)
    assert found.factories[0].from_block == 7


def test_a_disabled_source_needs_no_other_key(tmp_path: Path) -> None:
    names = ("cross_chain", "hyperliquid", "lighter", "top_transfers", "token_lists")
    tables = "".join(f"[sources.{name}]\nenabled = false\n" for name in names)

    found = read_configuration(written(tmp_path, tables.replace("\n", '\nchains = ["base"]\n', 1) + FACTORY))

    assert [getattr(found.sources, name).enabled for name in names] == [False] * 5


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    found = read_configuration(
        written(tmp_path, f'[sources.token_lists]\nurls = ["a.json", "https://x/b.json"]\n{FACTORY}')
    )

    assert found.sources.token_lists is not None
    assert found.sources.token_lists.urls == (str(tmp_path / "a.json"), "https://x/b.json")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("factories = []", "factories: none is named, so there is nowhere to look for pools"),
        ("", "factories is missing"),
        (f"hooks = 'some'\n{FACTORY}", 'hooks: \'some\' is not "none", "all" or a list of addresses'),
        (f"hysterese = 0.1\n{FACTORY}", "hysterese is not a known key"),
        (f"hysteresis = 20\n{FACTORY}", "hysteresis is 20, and should be less than or equal to 1"),
        (f"blocked = ['0x12']\n{FACTORY}", "blocked[0]: '0x12' is neither an address nor a pool id"),
        (f"[sources.lighter]\nurls = ['x']\n{FACTORY}", "sources.lighter.urls is not a known key"),
        (f"[sources.token_lists]\nenabled = true\n{FACTORY}", "sources.token_lists.urls: no list is named"),
        (
            f"[sources.lighter]\nurl = 'http://['\n{FACTORY}",
            "sources.lighter.url: 'http://[' is neither a URL nor a path",
        ),
        (
            f"[sources.lighter]\nurl = 'http://user:KEY@[?key=KEY'\n{FACTORY}",
            "sources.lighter.url: 'http://[' is neither a URL nor a path",
        ),
        (f"[sources.top_transfers]\nurl = 'ws://'\n{FACTORY}", "sources.top_transfers.url: 'ws://' is neither"),
        (f"[sources.token_lists]\nurls = ['a.json', '']\n{FACTORY}", "sources.token_lists.urls[1]: '' is neither"),
        (
            f"[sources.lighter]\ntimeout_s = 0\n{FACTORY}",
            "lighter.timeout_s is 0, and should be greater than 0",
        ),
        (
            f"[sources.cross_chain]\nmin_chains = 4\n{FACTORY}",
            "cross_chain.min_chains: 4 is not between 1 and 3",
        ),
        (
            FACTORY + FACTORY.replace("v2", "v3"),
            "factories[1].protocol is v3, and factories[0] has the same",
        ),
        (FACTORY.replace("v2", "v5"), "factories[0].protocol: protocol 'v5' is not followed"),
        (FACTORY.replace("5C69", "5c69"), "factories[0].address: the checksum of 0x5c69"),
        (
            FACTORY.replace("aA6f", "aA6"),
            "aA6' is not an address",
        ),
        (
            f"{FACTORY}[[trusted]]\naddress = '0x{'ab' * 20}'\nsymbol = 'X'\nusd = -1",
            "trusted[0].usd is -1",
        ),
        (f"every_s = true\n{FACTORY}", "every_s is True, and should be a valid number"),
        (f"every_s = inf\n{FACTORY}", "every_s is inf, and should be a finite number"),
        (f"hooks = ['0x12']\n{FACTORY}", "hooks: '0x12' is not an address"),
        (
            f"[sources.lighter]\nenabled = 'yes'\n{FACTORY}",
            "lighter.enabled is 'yes', and should be a",
        ),
        (f"chain_id = 'one'\n{FACTORY}", "chain_id is 'one', and should be a valid integer"),
        (FACTORY + TWO_WRAPPED, "trusted: wraps_native is true for 2 tokens"),
        ("factories = ", "is not TOML"),
    ],
)
def test_a_mistake_is_reported_with_its_key(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(Misconfigured, match=re.escape(sentence)) as refused:
        read_configuration(path)

    assert str(path) in str(refused.value)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, f"hysterese = 0.1\nremoval_share = -1\n{FACTORY}")

    with pytest.raises(Misconfigured) as refused:
        read_configuration(path)

    assert str(refused.value) == (
        f"{path}: removal_share is -1, and should be greater than or equal to 0; hysterese is not a known key"
    )


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="No such file"):
        load_configuration(Settings(whitelist_config=tmp_path / "none.toml"))


def test_another_chain_needs_a_file_of_its_own() -> None:
    with pytest.raises(Misconfigured, match="this chain is 'base': name a file in ARENA_WHITELIST_CONFIG"):
        load_configuration(Settings(chain="base"))
