"""degenbot and Uniswap's JS SDKs, each in an environment of its own in the user's cache, made on first use."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import msgspec

from lab.bench.quotes.task import Reading, Task

HERE = Path(__file__).parent
DEGENBOT = "degenbot==0.5.0"
SDK_PACKAGES = {
    "private": True,
    "dependencies": {"@uniswap/v3-sdk": "3.31.5", "@uniswap/v4-sdk": "2.4.0"},
    "overrides": {"hardhat-watcher": "npm:is-number@7.0.0", "@openzeppelin/contracts": "npm:is-number@7.0.0"},
}
"""The overrides leave out packages that the SDKs name and do not use."""


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pool-state-arena" / "quote-peers"


def degenbot(task: Task, python: str) -> Reading:
    """`python`: of version 3.12 or newer."""
    home = cache() / "degenbot"
    interpreter = home / "bin" / "python"
    environment = {**os.environ, "HOME": str(home / "home")}
    if not (home / "ready").exists():
        found = shutil.which(python)
        if found is None:
            raise click.ClickException(f"degenbot needs Python 3.12 or newer, and there is no {python}: name one")
        _run([found, "-m", "venv", str(home)], os.environ)
        _run([str(interpreter), "-m", "pip", "install", "--quiet", DEGENBOT], os.environ)
        (home / "home").mkdir(exist_ok=True)
        first = [str(interpreter), "-c", "import degenbot"]  # fails in an empty home, and makes its files
        subprocess.run(first, env=environment, capture_output=True, check=False)
        _run(first, environment)
        (home / "ready").touch()
    shutil.copy(HERE / "degenbot_peer.py", home)
    return _read([str(interpreter), str(home / "degenbot_peer.py")], task, environment)


def sdk(task: Task) -> Reading:
    home = cache() / "sdk"
    if not (home / "ready").exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_bytes(msgspec.json.encode(SDK_PACKAGES))
        _run([_program("npm"), "install", "--loglevel=error", "--prefix", str(home)], os.environ)
        (home / "ready").touch()
    shutil.copy(HERE / "sdk_peer.cjs", home)
    return _read([_program("node"), str(home / "sdk_peer.cjs")], task, dict(os.environ))


def _program(name: str) -> str:
    """Beside the interpreter, or on PATH."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise click.ClickException(f"there is no {name}")
    return found


def _read(command: list[str], task: Task, environment: dict[str, str]) -> Reading:
    done = subprocess.run(command, input=msgspec.json.encode(task), env=environment, capture_output=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{command[0]} failed:\n{done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Reading)


def _run(command: list[str], environment: os._Environ[str] | dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
