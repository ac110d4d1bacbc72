"""The command line as a person or a program meets it: what it prints, and its exit code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from cli import app

WIDTH = 80
ROOT = Path(__file__).resolve().parents[2]
HEART = ROOT / "examples" / "heart"


@dataclass(frozen=True)
class Answer:
    """What a command came to.

    ``err`` has an error's sentence on one line: where it wraps depends on how long the path of a test's directory is.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a command that failed with --json."""
        return self.json["error"]


def fedchain(*arguments: object, given: str | None = None) -> Answer:
    """Run a command in this process; an exception it lets through is a fault of ours and fails the test."""
    texts = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, texts, input=given, env={"COLUMNS": str(WIDTH), "NO_COLOR": "1"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr.replace("\n" + " " * len("Error: "), " "))


def done(*arguments: object, given: str | None = None) -> Any:
    """Run a command with --json, see that it succeeds, and return its document."""
    answer = fedchain(*arguments, "--json", given=given)
    assert answer.code == 0, answer.out + answer.err
    return answer.json
