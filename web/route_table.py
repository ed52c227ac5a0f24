"""What a route is: its path, what it takes and what it answers with. `/openapi.json` is made from the same values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Literal, TypeVar

import msgspec
from aiohttp import web

from web.answers import JSON
from web.errors import Handler

T_co = TypeVar("T_co", covariant=True)
Schema = Mapping[str, object]
"""JSON Schema."""
SCHEMAS = "#/components/schemas/"
"""Where `/openapi.json` keeps the schemas of all answers."""


def all_of(*parts: type[msgspec.Struct]) -> msgspec.Meta:
    """Of a value with the fields of all of these."""
    return msgspec.Meta(extra_json_schema={"allOf": [{"$ref": f"{SCHEMAS}{part.__name__}"} for part in parts]})


def any_of(*parts: type[msgspec.Struct]) -> msgspec.Meta:
    """Of a value that is one of these."""
    return msgspec.Meta(extra_json_schema={"anyOf": [{"$ref": f"{SCHEMAS}{part.__name__}"} for part in parts]})


class Parameter(msgspec.Struct, Generic[T_co], frozen=True):
    name: str
    schema: Schema
    description: str
    parse: Callable[[str, str], T_co]
    """Of the name and the text. Raises HttpError."""
    repeatable: bool = False
    location: Literal["query", "path"] = "query"
    is_required: bool = False

    def read(self, request: web.Request) -> T_co | None:
        """The first value; None where it is not given. Raises HttpError."""
        text = request.query.get(self.name)
        return None if text is None else self.parse(self.name, text)

    def read_all(self, request: web.Request) -> list[T_co]:
        """Raises HttpError."""
        return [self.parse(self.name, text) for text in request.query.getall(self.name, [])]


class Route(msgspec.Struct, frozen=True):
    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    summary: str
    answers: Sequence[type[msgspec.Struct]]
    """One of these; empty where the answer is not JSON."""
    extensions: Sequence[type[msgspec.Struct]] = ()
    """The answer has the fields of these too."""
    parts: Sequence[type[msgspec.Struct]] = ()
    """What the answers name by `all_of` and `any_of`, where no route answers with it."""
    parameters: Sequence[Parameter[object]] = ()
    body: type[msgspec.Struct] | None = None
    is_list: bool = False
    """The answer is a JSON list of them."""
    has_envelope: bool = False
    """The answer has the fields of an Envelope too."""
    errors: Sequence[int] = ()
    """Statuses beside 200, each with an ErrorAnswer."""
    media_type: str = JSON
