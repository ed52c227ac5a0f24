"""The version of this checkout."""

import tomllib

from commands.errors import ROOT


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
