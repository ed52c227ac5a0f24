"""GET /openapi.json: OpenAPI 3.1, made from the route table and the Structs that are served."""

from collections.abc import Iterable, Sequence

import msgspec
from aiohttp import web

from protocols.registry import NAMES
from tables.views.envelope import Envelope
from tables.views.state import StateView, state_layout
from web.answers import JSON, encode, encoded_answer
from web.errors import ErrorAnswer
from web.route_table import SCHEMAS, Parameter, Route, Schema
from web.token import OPEN_PATHS

Document = dict[str, object]

DESCRIPTIONS = {
    304: "The client has this answer already (If-None-Match)",
    400: "A parameter or the body cannot be read",
    401: "The bearer token is missing or wrong",
    404: "No such pool, or no such block in memory",
    422: "It cannot be known",
    503: "Not now: ask again",
}
ABOUT = (
    "The exact, current state of Uniswap V2, V3 and V4 pools. An answer about pools is as of the end of the block in "
    "its envelope. Integers beyond 2^53 are decimal strings; every error is JSON with a sentence."
)


class OpenApiHandler:
    def __init__(self, table: Sequence[Route], has_token: bool) -> None:
        self._table = table
        self._has_token = has_token
        self._encoded: bytes | None = None

    def route(self) -> Route:
        return Route("GET", "/openapi.json", self._answer, "This document", [])

    async def _answer(self, _: web.Request) -> web.StreamResponse:
        if self._encoded is None:
            self._encoded = encode(document([*self._table, self.route()], has_token=self._has_token))
        return encoded_answer(self._encoded)


def document(table: Sequence[Route], *, has_token: bool = False) -> Document:
    made: Document = {
        "openapi": "3.1.0",
        "info": {"title": "Pool State Arena", "version": "1", "description": ABOUT, "license": {"name": "MIT"}},
        "paths": _paths(table, has_token),
        "components": {"schemas": _schemas(table)},
    }
    if has_token:
        made["components"] = {
            "schemas": _schemas(table),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        }
        made["security"] = [{"token": []}]
    return made


def _paths(table: Sequence[Route], has_token: bool) -> Document:
    paths: dict[str, Document] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, has_token)
    return dict(paths)


def _operation(route: Route, has_token: bool) -> Document:
    needs_token = has_token and route.path not in OPEN_PATHS
    errors = [*route.errors, 401] if needs_token else route.errors
    operation: Document = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()} {route.path}",
        "parameters": [_parameter(each) for each in route.parameters],
        "responses": {"200": _response(route)} | {str(status): _error(status) for status in sorted(errors)},
    }
    if route.body:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": _reference(route.body)}}}
    if has_token and not needs_token:
        operation["security"] = []
    return operation


def _parameter(parameter: Parameter[object]) -> Document:
    schema: Schema = parameter.schema
    if parameter.repeatable:
        schema = {"type": "array", "items": schema}
    return {
        "name": parameter.name,
        "in": parameter.location,
        "required": parameter.is_required or parameter.location == "path",
        "description": parameter.description,
        "schema": schema,
    }


def _response(route: Route) -> Document:
    response: Document = {"description": route.summary}
    if route.media_type == JSON:
        response["content"] = {JSON: {"schema": _answer_schema(route)}}
    else:
        response["content"] = {route.media_type: {"schema": {"type": "string"}}}
    return response


def _answer_schema(route: Route) -> Schema:
    answers = [_reference(each) for each in route.answers]
    if not answers:
        return {"type": "object"}
    answer: Schema = answers[0] if len(answers) == 1 else {"anyOf": answers}
    if route.is_list:
        return {"type": "array", "items": answer}
    also = ([_reference(Envelope)] if route.has_envelope else []) + [_reference(each) for each in route.extensions]
    return {"allOf": [*also, answer]} if also else answer


def _error(status: int) -> Document:
    if status == 304:
        return {"description": DESCRIPTIONS[status]}
    return {"description": DESCRIPTIONS[status], "content": {JSON: {"schema": _reference(ErrorAnswer)}}}


def _reference(type_: type[msgspec.Struct]) -> Schema:
    return {"$ref": SCHEMAS + type_.__name__}


def _schemas(table: Iterable[Route]) -> Document:
    answered = [each for route in table for each in (*route.answers, *route.extensions, *route.parts)]
    served = dict.fromkeys([*answered, *(route.body for route in table if route.body)])
    states = [state_layout(name).view for name in NAMES]
    types = [Envelope, ErrorAnswer, *served, *states]
    _, components = msgspec.json.schema_components(types, ref_template=SCHEMAS + "{name}")
    alternatives: Document = {"title": StateView.__name__, "anyOf": [_reference(each) for each in states]}
    return dict(components) | {StateView.__name__: alternatives}
