"""What the help says: an example for every command, options that exist, 80 columns, and at once."""

import re
import shlex
import subprocess
import sys

import pytest
from typer.main import get_command

from cli import app
from commands.reference import FILE, PLANS, render_plans, render_reference, walk
from fl.data.known import KNOWN_SETS
from tests.commands.terminal import ROOT, WIDTH, fedchain

COMMANDS = dict(walk(get_command(app), "fedchain"))
PROMISED = {
    "init", "keys new", "keys list", "keys show", "config check", "node start",
    "node ban", "node unban", "node bans", "status", "peers", "account", "block",
    "plan new", "plan options", "plan validate", "plan submit", "plan list", "plan show", "plan watch", "plan cancel",
    "device join", "device run", "device status", "model export", "model predict", "model evaluate",
    "localnet run", "localnet up", "localnet down", "localnet status", "train", "data fetch", "db check", "db compact",
    "db export", "db import", "db backup", "node checkpoint", "simulate", "upgrade show", "upgrade adopt",
}  # fmt: skip


def test_every_command_of_the_plan_is_there():
    """The command line has what was promised."""
    assert {f"fedchain {name}" for name in PROMISED} <= set(COMMANDS)


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_help_has_an_example_and_fits_80_columns(path: str):
    """Exit code 0, --json among the options, no line longer than a terminal is wide."""
    answer = fedchain(*path.split()[1:], "--help")
    assert answer.code == 0
    assert "Example" in answer.out
    assert "--json" in answer.out
    assert max(map(len, answer.out.splitlines())) <= WIDTH
    assert not re.search(r"<(bool|int|float|path)|\[\[", answer.out), "names of types say nothing to people"


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_examples_use_commands_and_options_that_exist(path: str):
    """Each example line is read by the parser of the command it calls."""
    lines = [line.partition("fedchain ")[2] for line in COMMANDS[path].epilog.splitlines() if "fedchain " in line]
    assert lines
    assert any(f"fedchain {line}".startswith(path) for line in lines)
    for line in lines:
        words = shlex.split(line)
        name = next(name for name in sorted(COMMANDS, reverse=True) if f"fedchain {line} ".startswith(f"{name} "))
        command, given = COMMANDS[name], words[len(name.split()) - 1 :]
        with command.context_class(command, info_name=name) as context:
            values, left, _ = command.make_parser(context).parse_args(list(given))
        assert left == []
        needed = [parameter for parameter in command.params if parameter.required]
        assert all(values.get(parameter.name) for parameter in needed), f"{line} leaves something out"


def test_help_loads_nothing_heavy():
    """``fedchain --help`` must answer at once: numpy, numba and their friends wait for the command that needs them."""
    heavy = ["numpy", "numba", "sklearn", "matplotlib", "pyarrow", "scipy", "aiohttp", "plyvel", "cryptography"]
    program = f"import sys, cli; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_reference_is_that_of_the_commands():
    """docs/cli.md is written from the commands; renew it with: python -m commands.reference."""
    assert FILE.read_text(encoding="utf-8") == render_reference()


def test_the_reference_of_plans_is_that_of_the_schema():
    """docs/plans.md lists every field; renew it with: python -m commands.reference."""
    assert PLANS.read_text(encoding="utf-8") == render_plans()


def test_the_help_names_every_known_data_set():
    """``data fetch`` can't look them up: its help must not load what knows them."""
    answer = fedchain("data", "fetch", "--help")
    assert all(name in answer.out for name in KNOWN_SETS)


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["plan", "nonsense"], ["init", "--nonsense"], ["plan", "submit"], ["init", "--block-ms", "soon"]],
)
def test_wrong_words_are_wrong_use(words: list[str]):
    """Exit code 2, told on standard error."""
    answer = fedchain(*words)
    assert answer.code == 2
    assert answer.out == ""
    assert "Usage: " in answer.err
