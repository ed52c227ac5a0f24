"""promtool, which tests Prometheus' rules: from PATH, or from Debian's package, unpacked beside the other servers."""

import platform
import shutil
import subprocess
from pathlib import Path

from lab.devnet.servers.packages import STACK, exclusive

UNPACKED = STACK / "prometheus"


class PromtoolMissing(Exception):
    def __init__(self, cause: str) -> None:
        super().__init__(f"promtool is not on PATH and cannot be had ({cause}); install Prometheus to test the rules")


def promtool() -> Path:
    """Raises PromtoolMissing."""
    return program("promtool")


def program(name: str) -> Path:
    """promtool or prometheus. Raises PromtoolMissing."""
    if found := shutil.which(name):
        return Path(found)
    path = UNPACKED / "usr" / "bin" / name
    with exclusive("prometheus"):
        if not path.exists():
            _unpack()
    return path


def _unpack() -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise PromtoolMissing(f"no Debian package on {platform.system()}")
    UNPACKED.mkdir(exist_ok=True)
    try:
        _run("apt-get", "download", "prometheus")
        (package,) = UNPACKED.glob("prometheus_*.deb")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, ValueError) as error:
        raise PromtoolMissing(f"apt-get download prometheus: {error}") from error
    _run("dpkg", "-x", package.name, ".")
    package.unlink()


def _run(*command: str) -> None:
    subprocess.run(command, cwd=UNPACKED, check=True, capture_output=True, timeout=120)
