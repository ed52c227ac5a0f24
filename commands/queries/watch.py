"""`arena watch`."""

import json
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import click
import msgspec
from rich.console import Console
from rich.text import Text

from commands.output import json_option
from commands.queries.worker_client import Unanswered, authorization, sentence
from protocols.registry import NAMES
from settings import Settings, settings
from streams.json_input import InvalidJson, decode_json

_events: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
READ_TIMEOUT_S = 20.0
"""A status comes every 5 s."""
RETRY_S = 1.0
STYLES = {"snapshot": "bold cyan", "block": "bold green", "reorg": "bold red", "closed": "bold yellow"}
HASH_CHARACTERS = 12
SHOWN_POOLS = 20
"""Of one event; a snapshot may have thousands."""


class Event(NamedTuple):
    name: str
    id: str | None
    data: dict[str, Any]


@click.command(epilog="Example: ./arena watch --pools 0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640")
@click.option("--pools", help="Ids, by comma; all pools without it.")
@click.option("--tokens", help="Addresses, by comma: pools of any of these tokens.")
@click.option("--protocol", help=f"By comma, of {', '.join(NAMES)}.")
@click.option("--finality", type=click.Choice(["instant", "safe", "finalized"]), default="instant", show_default=True)
@json_option
def watch(pools: str | None, tokens: str | None, protocol: str | None, finality: str, as_json: bool) -> None:
    """What changes, block by block, until Ctrl-C; with --json a line of JSON for each event."""
    asked = {"pools": pools, "tokens": tokens, "protocol": protocol, "finality": finality}
    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        for event in follow(settings(), {name: value for name, value in asked.items() if value}):
            if as_json:
                click.echo(json.dumps({"event": event.name, "id": event.id} | event.data))
            else:
                console.print(described(event))
    except KeyboardInterrupt:
        return


def follow(configured: Settings, query: dict[str, str]) -> Iterator[Event]:
    """For ever; a connection that is lost is taken up after the last event. Raises Unanswered where none was had."""
    last: str | None = None
    while True:
        try:
            for event in _connection(configured, query, last):
                last = event.id
                yield event
        except HTTPError as error:
            if last is None or error.code not in (502, 503, 504):
                raise Unanswered(sentence(error)) from error
        except (URLError, OSError) as error:
            if last is None:
                reason = getattr(error, "reason", error)
                place = f"{configured.web_host}:{configured.web_port}"
                raise Unanswered(f"no worker answers at {place} ({reason}); is `arena worker` running?") from error
        threading.Event().wait(RETRY_S)


def _connection(configured: Settings, query: dict[str, str], last: str | None) -> Iterator[Event]:
    """Raises URLError, OSError."""
    url = f"http://{configured.web_host}:{configured.web_port}/stream?{urlencode(query)}"
    headers = authorization(configured) | ({"Last-Event-ID": last} if last else {})
    with urlopen(Request(url, headers=headers), timeout=READ_TIMEOUT_S) as lines:
        fields: dict[str, str] = {}
        for raw in lines:
            name, _, value = raw.decode(errors="replace").rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                yield Event(fields.get("event", "message"), fields.get("id"), _data(fields["data"]))
                fields = {}


def _data(text: str) -> dict[str, Any]:
    """Raises Unanswered."""
    try:
        return decode_json(_events, text.encode())
    except InvalidJson as error:
        raise Unanswered(f"the stream has an event that cannot be read: {error}") from error


def described(event: Event) -> Text:
    """A line of the event, and one for each pool."""
    data = event.data
    block = data.get("block")
    text = Text()
    text.append(f"{event.name:8}", style=STYLES.get(event.name, "dim"))
    place = f"{block['number']} {block['hash'][:HASH_CHARACTERS]}… {_age(data)}" if block else "before the first block"
    text.append(f" {place}  {_summary(event)}")
    pools = data["pools"] if event.name in ("snapshot", "block", "reorg") else []
    for pool in pools[:SHOWN_POOLS]:
        text.append(f"\n         {_pool(pool)}")
    if len(pools) > SHOWN_POOLS:
        text.append(f"\n         and {len(pools) - SHOWN_POOLS} more", style="dim")
    return text


def _age(data: dict[str, Any]) -> str:
    return f"{data['age_s']:.1f} s old"


def _summary(event: Event) -> str:
    data = event.data
    match event.name:
        case "status":
            return f"{data['pools']['live']} live, {data['pools']['waiting']} waiting, lag {data['lag_blocks']} blocks"
        case "closed":
            return str(data["error"])
        case "reorg":
            return f"{len(data['dropped'])} blocks dropped, {len(data['pools'])} pools"
    removed = len(data.get("removed", ()))
    return f"{len(data['pools'])} pools" + (f", {removed} removed" if removed else "")


def _pool(pool: dict[str, Any]) -> str:
    tokens = "/".join(pool[side].get("symbol") or pool[side]["address"][:8] for side in ("token0", "token1"))
    if pool["state"] is None:
        return f"{pool['id']} {pool['protocol']} {tokens} waiting: {pool['reason']['kind']}"
    price = pool["price"]["token1_per_token0"]
    known = {"price": price} if price else {}
    shown = known | {name: value for name, value in pool["state"].items() if value is not None}
    return f"{pool['id']} {pool['protocol']} {tokens} " + " ".join(f"{name}={value}" for name, value in shown.items())
