"""Which errors end a command with one sentence, and which with a traceback."""

import sys
from pathlib import Path
from types import TracebackType

import click
from aiokafka.errors import KafkaError
from pydantic import ValidationError

ROOT = Path(__file__).parent.parent


def one_line(error: BaseException) -> str | None:
    """The sentence of an error that a person can act on: ours, or of something unreachable. None for a bug."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ValidationError):
        wrong = error.errors()[0]
        return f"ARENA_{'_'.join(map(str, wrong['loc'])).upper()}: {wrong['msg'].removeprefix('Value error, ')}"
    if is_ours(type(error)) or isinstance(error, KafkaError | OSError):
        return str(error) or type(error).__name__
    return None


def is_ours(kind: type[BaseException]) -> bool:
    """By the package that defines it: the directories and modules beside this one's."""
    package = ROOT / kind.__module__.partition(".")[0]
    return (package / "__init__.py").exists() or package.with_suffix(".py").exists()


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Stands in for sys.excepthook."""
    sentence = one_line(error)
    if sentence is None:
        sys.__excepthook__(kind, error, trace)
    else:
        click.echo(f"arena: {sentence}", err=True)
