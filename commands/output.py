"""Prints a command's answer: a table for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
UNLIMITED = 100_000


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """A line per row; nothing is cut off, whatever the width of the terminal or pipe."""
    table = Table(*(Column(name, no_wrap=True) for name in columns), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(plain(row.get(name)) for name in columns))
    print_whole(table)


def print_fields(fields: Mapping[str, Any]) -> None:
    table = Table(Column(min_width=15, no_wrap=True), Column(no_wrap=True), box=None, pad_edge=False, show_header=False)
    for name, value in fields.items():
        table.add_row(name, plain(value))
    print_whole(table)


def print_whole(table: Table) -> None:
    console = Console(markup=False, highlight=False)
    wide = console.options.update(width=UNLIMITED)
    console.width = max(console.width, Measurement.get(console, wide, table).maximum)
    console.print(table)


def plain(value: Any) -> str:
    """A block as its number, a reason as `kind: detail`, counts as `3 live, 1 waiting`, nothing as a dash."""
    match value:
        case None:
            return "-"
        case {"number": number}:
            return str(number)
        case {"kind": kind, "detail": detail}:
            return f"{kind}: {detail}" if detail else str(kind)
        case dict():
            return ", ".join(f"{count} {name}" for name, count in value.items())
    return str(value)
