"""Asks a worker over HTTP."""

from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import click
import msgspec

from settings import Settings
from streams.json_input import InvalidJson, decode_json

TIMEOUT_S = 10
_answers: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class Unanswered(click.ClickException):
    """No worker answers, or it says why it does not."""


def ask(settings: Settings, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Raises Unanswered."""
    url = f"http://{settings.web_host}:{settings.web_port}{path}" + (f"?{urlencode(query)}" if query else "")
    try:
        with urlopen(Request(url, headers=authorization(settings)), timeout=TIMEOUT_S) as answer:
            return decode_json(_answers, answer.read())
    except HTTPError as error:
        raise Unanswered(sentence(error)) from error
    except InvalidJson as error:
        raise Unanswered(f"what answers at {settings.web_host}:{settings.web_port} is no worker: {error}") from error
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise Unanswered(
            f"no worker answers at {settings.web_host}:{settings.web_port} ({reason}); "
            "is one running (`arena worker`), and are ARENA_WEB_HOST and ARENA_WEB_PORT right?"
        ) from error


def authorization(settings: Settings) -> dict[str, str]:
    token = settings.web_token
    return {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}


def sentence(error: HTTPError) -> str:
    try:
        return str(decode_json(_answers, error.read())["error"])
    except (InvalidJson, KeyError):
        return f"the worker answers {error.code} {error.reason}"
