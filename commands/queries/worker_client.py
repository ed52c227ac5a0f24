"""The commands that ask a worker over HTTP, and how they print its answers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import click
import msgspec

from settings import Settings
from streams.kafka.dead_letters import StoredLetter

TIMEOUT_S = 10


class Unanswered(click.ClickException):
    """No worker answers, or it says why it does not."""


def pool(settings: Settings, pool_id: str, at: int | None, *, with_ticks: bool, as_json: bool) -> None:
    query = {} if at is None else {"at": str(at)}
    found = _ask(settings, f"/pools/{quote(pool_id)}/", query)
    if with_ticks:
        found |= {"ticks": _ask(settings, f"/pools/{quote(pool_id)}/ticks/", query)["ticks"]}
    if as_json:
        _print_json(found)
        return
    for name, value in found.items():
        if name not in ("state", "ticks"):
            click.echo(f"{name:<16} {_plain(value)}")
    for name, value in (found["state"] or {}).items():
        click.echo(f"{name:<16} {value}")
    if with_ticks:
        _print_table(("tick", "liquidity_gross", "liquidity_net"), found["ticks"])


def pools(settings: Settings, filters: Mapping[str, str], *, as_json: bool) -> None:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = _ask(settings, "/pools/", {**filters, **cursor})
        found += page["pools"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    if as_json:
        _print_json({"pools": found})
        return
    _print_table(("id", "protocol", "fee", "status", "block", "reason"), found)
    click.echo(f"{len(found)} pools")


def status(settings: Settings, *, as_json: bool) -> None:
    found = _ask(settings, "/status/", {})
    if as_json:
        _print_json(found)
        return
    columns = ("partition", "worker", "ready", "head", "lag_blocks", "lag_seconds", "pools")
    _print_table(columns, found["partitions"])
    click.echo(f"{found['chain']}: head {found['head']}, {_plain(found['pools'])}")
    for reason, count in found["reasons"].items():
        click.echo(f"{count} waiting: {reason}")


def dead_letters(letters: Sequence[StoredLetter], *, as_json: bool) -> None:
    rows = [
        {"name": each.name, "timestamp_ms": each.timestamp_ms, **msgspec.structs.asdict(each.letter)}
        for each in letters
    ]
    if as_json:
        _print_json({"dead_letters": rows})
        return
    _print_table(("name", "topic", "partition", "offset", "key", "error"), rows)
    click.echo(f"{len(rows)} dead letters")


def _ask(settings: Settings, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    url = f"http://{settings.web_host}:{settings.web_port}{path}" + (f"?{urlencode(query)}" if query else "")
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:
            return dict(json.load(answer))
    except HTTPError as error:
        raise Unanswered(_sentence(error)) from error
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise Unanswered(
            f"no worker answers at {settings.web_host}:{settings.web_port} ({reason}); "
            "is one running (`arena worker`), and are ARENA_WEB_HOST and ARENA_WEB_PORT right?"
        ) from error


def _sentence(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError):
        return f"the worker answers {error.code} {error.reason}"


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def _print_table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    lines = [columns, *(tuple(_plain(row.get(column)) for column in columns) for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return (
            f"{value['number']}" if "number" in value else ", ".join(f"{count} {name}" for name, count in value.items())
        )
    return str(value)
