"""How every command answers: for people on a terminal, or as JSON with ``--json``.

Exit codes: 0 the command did what was asked; 1 it could not; 2 it was used wrongly. This file is the one place
where an exception becomes an exit code, a sentence for people and a JSON object for programs. What is not in the
table is a bug: it keeps its traceback.

Rules of this file: results go to standard output, everything else (progress, warnings, errors) to standard error,
so that ``--json`` output can be piped. Nothing heavy is imported: every command pays for it.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import cleandoc
from textwrap import wrap
from typing import Annotated, Final, ParamSpec, TypeVar

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.text import Text

from chain.errors import ChainError
from fl.errors import FLError, Problem
from node.errors import NodeError
from storage.errors import StorageError, WrongPasswordError

P = ParamSpec("P")
R = TypeVar("R")

WIDEST: Final = 100
"""Columns that sentences take at most, however wide the terminal."""
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

console: Final = Console(highlight=False)
diagnostics: Final = Console(stderr=True, highlight=False)

PANEL_NODE: Final = "A node"
PANEL_LEARNING: Final = "Learning"
PANEL_LEDGER: Final = "The ledger"
"""Where commands stand in ``fedchain --help``."""

JsonFlag = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON instead of text.")]


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


@dataclass(frozen=True, slots=True)
class AsIs:
    """Text that is printed as it is: paths, ids and commands to copy must not be broken at the terminal's width."""

    text: Text

    def __rich__(self) -> Text:
        return self.text


def emit(as_json: bool, document: object, *human: RenderableType) -> None:
    """Print the result: the document as JSON, or what people read. Records and shapes become objects."""
    if as_json:
        _write_json(document, indent=2)
    else:
        for item in human:
            console.print(item, soft_wrap=isinstance(item, AsIs))


def emit_line(as_json: bool, document: object, human: RenderableType) -> None:
    """Print one of a stream of results: a JSON document on a line of its own, or a line for people."""
    if as_json:
        _write_json(document, indent=None)
    else:
        console.print(human)


def _write_json(document: object, indent: int | None) -> None:
    json.dump(msgspec.to_builtins(document), sys.stdout, indent=indent, allow_nan=False, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def note(text: RenderableType) -> None:
    """Tell people something beside the result (standard error)."""
    diagnostics.print(text, soft_wrap=isinstance(text, AsIs))


def warn(text: str) -> None:
    """Tell people what they should think about (standard error)."""
    diagnostics.print(hanging("Warning: ", "bold yellow", text), soft_wrap=True)


@contextmanager
def waiting(text: str) -> Iterator[Callable[[str], None]]:
    """Show a sign of life, with a text, while something goes on that may take a second or more: on a terminal only.

    Yields what changes the text.
    """
    with diagnostics.status(Text(f"{text} …")) as status:
        yield lambda now: status.update(Text(f"{now} …"))


def explain(error: BaseException) -> tuple[int, str, str] | None:
    """Return exit code, cause and remedy for an error a user can act on; ``None`` for a bug."""
    match error:
        case UsageFault():
            return EXIT_USAGE, error.cause, error.remedy
        case CommandFailed():
            return EXIT_FAILED, error.cause, error.remedy
        case WrongPasswordError():
            return EXIT_FAILED, str(error), "try again; nothing but its password opens the key"
        case ChainError() | FLError() | NodeError() | StorageError():
            return EXIT_FAILED, str(getattr(error, "cause", error)), str(getattr(error, "remedy", ""))
        case OSError() if error.strerror is not None:
            return EXIT_FAILED, f"{error.filename}: {error.strerror}" if error.filename else error.strerror, ""
        case _:
            return None


@contextmanager
def exit_codes(as_json: bool) -> Iterator[None]:
    """Turn errors a user can act on into a sentence, a JSON object and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        diagnostics.print(Text("Interrupted.", "yellow"))
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(EXIT_FAILED) from None
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        code, cause, remedy = explained
        if as_json:
            shown: dict[str, object] = {"cause": cause, "remedy": remedy, "exit_code": code}
            problems = [problem for problem in getattr(error, "problems", ()) if isinstance(problem, Problem)]
            _write_json({"error": shown | ({"problems": problems} if problems else {})}, indent=None)
        for line in _told(cause, remedy):
            diagnostics.print(line, soft_wrap=True)
        raise typer.Exit(code) from None


def _told(cause: str, remedy: str) -> Iterator[Text]:
    """Yield an error as people read it: a sentence, or a list if there are several things wrong."""
    lines = cause.splitlines() or [""]
    if len(lines) == 1:
        yield hanging("Error: ", "bold red", cause)
    else:
        yield hanging("Error: ", "bold red", f"{len(lines)} problems")
        yield from (hanging("  - ", "", line) for line in lines)
    if remedy:
        yield hanging("Try:   ", "bold", remedy)


def hanging(label: str, style: str, text: str, width: int | None = None) -> Text:
    """Return a label and a text whose further lines begin below its first; long words (paths, ids) stay whole."""
    room = max(20, (width or min(console.width, WIDEST)) - len(label))
    first, *others = wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return Text.assemble((label, style), "\n".join([first, *(" " * len(label) + line for line in others)]))


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Make a typer command obey this file's exit codes. Its ``as_json`` argument, if it has one, is ``--json``.

    Its docstring becomes its help: every paragraph on one line, so that it fits any terminal.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with exit_codes(bool(kwargs.get("as_json", False))):
            return function(*args, **kwargs)

    paragraphs = cleandoc(function.__doc__ or "").split("\n\n")
    run.__doc__ = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    return run


def example(*lines: str) -> str:
    """Return a command's epilog: its Example block, which the help and docs/cli.md show."""
    return "\n".join(["[bold]Example[/]", *(f"  {line}".replace("[", r"\[") for line in lines)])
