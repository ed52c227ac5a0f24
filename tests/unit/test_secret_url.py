import base64
import json
import logging

import msgspec
import pytest
from pydantic import BaseModel

from settings import Settings
from streams.secret_url import SecretUrl

KEY = "k3y-d41d8cd98f00b204"


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://localhost:8545", "http://localhost:8545"),
        ("http://localhost:8545/", "http://localhost:8545"),
        (f"https://eth-mainnet.g.alchemy.com/v2/{KEY}", "https://eth-mainnet.g.alchemy.com/…"),
        (f"wss://node.example:443/ws?apikey={KEY}", "wss://node.example:443/…"),
        (f"https://node.example?key={KEY}", "https://node.example/…"),
        (f"https://node.example#{KEY}", "https://node.example/…"),
        (f"https://user:{KEY}@node.example/rpc", "https://node.example/…"),
        (f"https://{KEY}@node.example", "https://node.example"),
        (f"https://user:{KEY}@[2001:db8::1]:8545", "https://[2001:db8::1]:8545"),
        (f"nats://arena:{KEY}@one:4222,nats://arena:{KEY}@two:4222", "nats://one:4222,nats://two:4222"),
        (f"arena:{KEY}@one:4222, two", "one:4222,two"),
        (f"nats://user:{KEY}/{KEY}@host:4222", "nats://…/…"),
        (f"nats://user:{KEY},{KEY}@host:4222", "nats://…,host:4222"),
        ("/var/run/reth.ipc", "/var/run/reth.ipc"),
        ("./reth.ipc", "./reth.ipc"),
    ],
)
def test_the_public_form_is_where_the_server_is(url: str, public: str) -> None:
    assert str(SecretUrl(url)) == public
    assert SecretUrl(url).get_secret_value() == url


def test_no_way_of_formatting_shows_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    class Model(BaseModel):
        url: SecretUrl

    url = SecretUrl(f"https://user:{KEY}@node.example/v2/{KEY}")
    model = Model(url=url)
    logging.getLogger("test").warning("%s %r %s", url, url, [url])
    with pytest.raises(TypeError):
        "at ".__add__(url)  # type: ignore[operator]
    with pytest.raises(TypeError):
        json.dumps({"url": url})

    shown = [
        *(f"{url}", f"{url!r}", f"{url!s}", "%s" % url, f"{[url]}", f"{url:>80}" if False else ""),  # noqa: UP031
        *(repr(model), str(model), str(model.model_dump()), model.model_dump_json()),
        *(str(ValueError(url)), repr(ValueError(url)), msgspec.json.encode(str(url)).decode(), caplog.text),
    ]
    assert not [text for text in shown if KEY in text]


@pytest.mark.parametrize(
    "message",
    [
        f"Cannot connect to https://user:{KEY}@node.example/v2/{KEY}?token={KEY}",
        f"invalid api key {KEY}",
        f"GET /v2/{KEY} HTTP/1.1",
        f"unknown query token={KEY}",
    ],
)
def test_messages_of_libraries_and_servers_are_scrubbed(message: str) -> None:
    url = SecretUrl(f"https://user:{KEY}@node.example/v2/{KEY}?token={KEY}")

    scrubbed = url.scrub(message)

    assert KEY not in scrubbed
    assert "…" in scrubbed


@pytest.mark.parametrize(
    "message",
    [
        f"invalid api key {KEY.upper()} for the plan",
        f"unauthorized: {KEY[:12]} and more",
        f"HTTP 401: b'unauthorized {KEY[:9]}'",
        "user p@ss:word-1 is not allowed",
        "user p%40ss%3Aword-1 is not allowed",
        "Authorization: Basic " + base64.b64encode(b"someone:p@ss:word-1").decode(),
        "unknown user someone",
        "proxy http://peter:hidden-word@proxy:3128 isn't valid",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJoaWRkZW4td29yZCJ9.hidden-word has expired",
    ],
)
def test_a_key_is_found_in_every_form(message: str) -> None:
    url = SecretUrl(f"https://someone:p%40ss%3Aword-1@node.example/v2/{KEY}")

    scrubbed = url.scrub(message)

    assert "…" in scrubbed
    for part in (KEY[:6], KEY[:6].upper(), "word-1", "someone", "hidden-word", base64.b64encode(b"someone").decode()):
        assert part not in scrubbed


def test_scrubbing_leaves_words_alone() -> None:
    assert SecretUrl("http://localhost:8545/rpc/v1").scrub("no rpc at v1") == "no rpc at v1"


def test_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARENA_RPC", f"https://node.example/{KEY}")
    monkeypatch.setenv("ARENA_RPC_WS", f"wss://node.example/{KEY}")
    monkeypatch.setenv("ARENA_NATS", f"nats://arena:{KEY}@host:4222")
    monkeypatch.setenv("ARENA_KAFKA_PASSWORD", KEY)

    settings = Settings()

    assert settings.rpc.get_secret_value().endswith(KEY)
    assert KEY not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
