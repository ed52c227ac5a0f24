"""What the page is made of: no foreign address, no inline script, readable colours, the published libraries."""

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
import pytest

from tests.support.files import ROOT
from tests.support.web_cluster import Cluster

STATIC = ROOT / "web" / "page" / "static"
VENDOR = STATIC / "vendor"
PUBLISHED = json.loads((VENDOR / "published.json").read_text())
"""Of each vendored file the SHA-256 in the package that npm publishes."""
OURS = [path for path in sorted(STATIC.rglob("*")) if path.is_file() and VENDOR not in path.parents]
LEAST_CONTRAST = 4.5
"""Of WCAG 2.2, AA."""


class Answer(NamedTuple):
    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes


async def get(path: str, **headers: str) -> Answer:
    cluster = Cluster("secret")
    await cluster.start()
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            url = "http://{}:{}".format(*cluster.address())
            async with session.get(url + path, headers=headers) as answer:
                return Answer(answer.status, answer.content_type, answer.headers, await answer.read())
    finally:
        await cluster.stop()


async def test_the_page_is_served_without_a_token_under_a_strict_policy() -> None:
    answer = await get("/")

    policy = answer.headers["Content-Security-Policy"]
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy


async def test_a_file_is_compressed_where_asked_and_not_sent_twice() -> None:
    plain = await get("/page/app.js", **{"Accept-Encoding": "identity"})
    packed = await get("/page/app.js", **{"Accept-Encoding": "gzip"})
    again = await get("/page/app.js", **{"If-None-Match": plain.headers["ETag"]})

    assert gzip.decompress(packed.body) == plain.body == (STATIC / "app.js").read_bytes()
    assert again.status == 304


@pytest.mark.parametrize("path", ["/page/none.js", "/page/../routes.py", "/page/%2e%2e/serving.py", "/page/vendor"])
async def test_nothing_else_is_served(path: str) -> None:
    answer = await get(path)

    assert answer.status in (401, 404)
    assert answer.content_type == "application/json"


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(STATIC)))
def test_our_files_name_no_other_host_and_make_no_html_from_text(path: object) -> None:
    text = (STATIC / str(path)).read_text()

    assert re.findall(r"https?://(?!www\.w3\.org)", text) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySet|eval\(|style=|onclick=", text) == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_vendored_file_is_the_published_one(name: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == PUBLISHED[name]


def test_every_vendored_file_is_listed_and_every_library_has_its_licence() -> None:
    files = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}

    assert files - {"published.json"} == set(PUBLISHED)
    assert all((folder / "LICENSE").is_file() for folder in VENDOR.iterdir() if folder.is_dir())


def test_the_page_is_small() -> None:
    sent = [path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".html", ".svg")]

    assert sum(len(gzip.compress(path.read_bytes())) for path in sent) < 180_000


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("color", ["text", "faint", "link", "good", "bad"])
def test_colours_contrast_enough(scheme: int, ground: str, color: str) -> None:
    block = re.findall(r":root \{(.*?)\}", (STATIC / "style.css").read_text(), re.DOTALL)[scheme]
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    light, dark = sorted((luminance(colors[color]), luminance(colors[ground])), reverse=True)

    assert (light + 0.05) / (dark + 0.05) >= LEAST_CONTRAST


def luminance(color: str) -> float:
    """Of WCAG 2.2."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
