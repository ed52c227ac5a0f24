"""Configuration: what depends on another setting, and what is refused with a sentence."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from settings import Settings


@pytest.fixture(autouse=True)
def no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("pin", "blocks"), [("latest", 64), ("safe", 128), ("finalized", 128)])
def test_the_memory_follows_the_pin_where_it_is_not_set(pin: str, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARENA_SCRAPER_PIN", pin)

    assert Settings().memory_blocks == blocks


@pytest.mark.parametrize("pin", ["safe", "finalized"])
def test_a_memory_that_does_not_reach_the_pinned_block_is_refused(pin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARENA_SCRAPER_PIN", pin)
    monkeypatch.setenv("ARENA_MEMORY_BLOCKS", "127")

    with pytest.raises(ValidationError, match=f"127 blocks do not reach back to {pin} blocks"):
        Settings()


def test_any_memory_reaches_the_latest_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARENA_MEMORY_BLOCKS", "4")

    assert Settings().memory_blocks == 4
