"""How commands answer: exit codes, sentences, JSON."""

import errno

import pytest
import typer
from typer.testing import CliRunner

from chain.errors import AddressError, GenesisError
from commands.output import CommandFailed, JsonFlag, UsageFault, command, emit, emit_line, example, explain
from fl.errors import DataError, PlanError, Problem
from node.client import ConnectionRefused
from node.errors import ConfigError, StartupError
from storage.errors import LockedError, WrongPasswordError


def make_app(error: BaseException | None, document: object = None) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @command
    def work(as_json: JsonFlag = False) -> None:
        """Work."""
        if error is not None:
            raise error
        emit(as_json, document, "it is done")

    return app


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageFault("wrong"), 2),
        (CommandFailed("no"), 1),
        (PlanError([Problem("model", "", "is missing")]), 1),
        (ConfigError(Problem("rpc.port", "x", "must be a number")), 1),
        (GenesisError("chain_id: empty"), 1),
        (AddressError("typing error"), 1),
        (DataError("a.csv: empty"), 1),
        (StartupError("port in use", "stop the other"), 1),
        (LockedError("in use"), 1),
        (WrongPasswordError("wrong password"), 1),
        (ConnectionRefused("nobody answers", "start it"), 1),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.toml"), 1),
        (OSError(errno.ENOSPC, "No space left on device", "x.npz"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_a_user_can_act_on_has_its_exit_code_and_no_traceback(error: BaseException, code: int):
    """The cause is told on standard error, nothing on standard output."""
    result = CliRunner().invoke(make_app(error), [])
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_bug_keeps_its_traceback():
    """What no table explains is not hidden behind a sentence."""
    result = CliRunner().invoke(make_app(ZeroDivisionError("ours")), [])
    assert isinstance(result.exception, ZeroDivisionError)
    assert explain(ZeroDivisionError()) is None


def test_an_error_says_cause_and_remedy_in_text_and_json():
    """Programs get an object with the same words."""
    import json

    app = make_app(StartupError("port 9470 is in use", "take another"))
    text = CliRunner().invoke(app, [])
    assert "Error: port 9470 is in use" in text.stderr
    assert "Try:   take another" in text.stderr
    document = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    assert document == {"error": {"cause": "port 9470 is in use", "remedy": "take another", "exit_code": 1}}


def test_several_problems_are_a_list():
    """One line each for people; field, value and what is allowed for programs."""
    import json

    problems = [Problem("model.l2", "-1", "must be 0 or more"), Problem("title", "", "is missing")]
    app = make_app(PlanError(problems))
    lines = CliRunner().invoke(app, []).stderr.splitlines()
    assert [line.rstrip() for line in lines] == [
        "Error: 2 problems",
        "  - model.l2 = -1: must be 0 or more",
        "  - title: is missing",
    ]
    error = json.loads(CliRunner().invoke(app, ["--json"]).stdout)["error"]
    assert error["problems"][0] == {"field": "model.l2", "value": "-1", "allowed": "must be 0 or more"}


def test_text_of_others_is_not_markup():
    """A column named [red] is shown as it is."""
    result = CliRunner().invoke(make_app(DataError("a.csv, column '[red]': [/] is text")), [])
    assert "column '[red]': [/] is text" in result.stderr


def test_results_are_text_or_one_json_document():
    """Records become objects; people read the other form."""
    problem = Problem("a", "b", "c")
    assert CliRunner().invoke(make_app(None, problem), []).stdout == "it is done\n"
    assert '"allowed": "c"' in CliRunner().invoke(make_app(None, problem), ["--json"]).stdout


def test_a_stream_prints_a_document_a_line(capsys: pytest.CaptureFixture[str]):
    """So that a program can read it as it comes."""
    emit_line(True, {"event": "one"}, "one")
    emit_line(True, {"event": "two"}, "two")
    assert capsys.readouterr().out == '{"event": "one"}\n{"event": "two"}\n'


def test_help_is_the_docstring_with_paragraphs_on_one_line():
    """So that it fits any terminal."""

    @command
    def work() -> None:
        """First
        line.

        Second
        paragraph.
        """

    assert work.__doc__ == "First line.\n\nSecond paragraph."
    assert example("fedchain plan new [x]").splitlines() == ["[bold]Example[/]", r"  fedchain plan new \[x]"]
