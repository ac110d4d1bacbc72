"""How every command answers: for people on a terminal, or as one JSON document with ``--json``.

Exit codes: 0 the command did what was asked; 1 it could not; 2 it was used wrongly. This file is the one place
where an exception becomes an exit code, a sentence for people and a JSON object for programs. What is not in the
table is a bug: it keeps its traceback.

Rules of this file: results go to standard output, everything else (progress, warnings, errors) to standard error,
so that ``--json`` output can be piped.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar

import typer
from rich.console import Console, RenderableType

from chain.errors import AddressError, CodecError, GenesisError
from fl.errors import FLError, PlanError
from node.errors import ConfigError, NodeError, StartupError
from storage.errors import StorageError

P = ParamSpec("P")
R = TypeVar("R")

EXIT_FAILED = 1
EXIT_USAGE = 2

console = Console()
diagnostics = Console(stderr=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


class UsageFault(Exception):  # noqa: N818 - it names an outcome, not an error of ours
    """The command was used wrongly: arguments that contradict each other or name nothing. Exit code 2."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy


class CommandFailed(Exception):  # noqa: N818 - it names an outcome, not an error of ours
    """The command ran and found that the answer is no. Exit code 1."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy


def emit(as_json: bool, document: object, *human: RenderableType) -> None:
    """Print the result: the document as JSON, or what people read."""
    if as_json:
        json.dump(document, sys.stdout, indent=2, sort_keys=False)
        sys.stdout.write("\n")
    else:
        for item in human:
            console.print(item)


def note(text: RenderableType) -> None:
    """Tell people something beside the result (standard error)."""
    diagnostics.print(text)


def explain(error: BaseException) -> tuple[int, str, str] | None:
    """Return exit code, cause and remedy for an error a user can act on; ``None`` for a bug."""
    match error:
        case UsageFault():
            return EXIT_USAGE, error.cause, error.remedy
        case CommandFailed() | StartupError():
            return EXIT_FAILED, error.cause, error.remedy
        case PlanError() | ConfigError():
            return EXIT_FAILED, "\n".join(map(str, error.problems)), ""
        case GenesisError() | AddressError() | CodecError() | FLError() | NodeError() | StorageError():
            return EXIT_FAILED, str(error), str(getattr(error, "remedy", ""))
        case FileNotFoundError() | IsADirectoryError() | NotADirectoryError() | PermissionError() | FileExistsError():
            return EXIT_FAILED, f"{error.filename}: {error.strerror}", ""
        case _:
            return None


@contextmanager
def exit_codes(as_json: bool) -> Iterator[None]:
    """Turn errors a user can act on into a sentence, a JSON object and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        diagnostics.print("[yellow]Interrupted.[/]")
        raise typer.Exit(130) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(EXIT_FAILED) from None
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        code, cause, remedy = explained
        if as_json:
            json.dump({"error": {"cause": cause, "remedy": remedy, "exit_code": code}}, sys.stdout, indent=2)
            sys.stdout.write("\n")
        diagnostics.print(f"[bold red]Error:[/] {_escaped(cause)}", highlight=False)
        if remedy:
            diagnostics.print(f"[bold]Try:[/]   {_escaped(remedy)}", highlight=False)
        raise typer.Exit(code) from None


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Make a typer command obey this file's exit codes. Its ``as_json`` argument is the ``--json`` flag."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with exit_codes(bool(kwargs.get("as_json", False))):
            return function(*args, **kwargs)

    return run
