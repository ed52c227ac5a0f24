"""Reads the configuration from its TOML file; every mistake in it becomes a sentence that names the key."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from settings import Settings
from whitelist.configuration import Configuration

ETHEREUM = Path(__file__).with_name("ethereum.toml")


class Misconfigured(Exception):
    """The message names the file, and for each mistake the key, what it holds and what it should hold."""


def load_configuration(settings: Settings) -> Configuration:
    """Raises Misconfigured."""
    if settings.whitelist_config is not None:
        return read_configuration(settings.whitelist_config)
    if settings.chain != "ethereum":
        raise Misconfigured(
            f"the default configuration is of Ethereum mainnet and this chain is {settings.chain!r}: name a file in "
            f"ARENA_WHITELIST_CONFIG (start with a copy of {ETHEREUM.parent.name}/{ETHEREUM.name})"
        )
    return read_configuration(ETHEREUM)


def read_configuration(path: Path) -> Configuration:
    """Raises Misconfigured."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return Configuration.model_validate(table, context=path.parent)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path} is not UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise Misconfigured(f"{path}: {'; '.join(map(_sentence, error.errors()))}") from error


def _sentence(error: ErrorDetails) -> str:
    key = _key(error["loc"])
    match error["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is not a known key"
        case "value_error":
            return f"{key}: {error['ctx']['error']}"
    expectation = error["msg"].removeprefix("Input ")
    return f"{key} is {error['input']!r}, and {expectation[:1].lower()}{expectation[1:]}"


def _key(location: Sequence[int | str]) -> str:
    """As TOML writes it: `factories[0].address`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".")
