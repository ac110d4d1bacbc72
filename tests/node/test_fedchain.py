"""The public face: every name is there, the examples of its documentation are true, and asking costs little."""

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import fedchain

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", fedchain.__all__)
def test_every_public_name_is_there_and_documented(name: str):
    """Each can be had, and says what it is."""
    value = getattr(fedchain, name)
    assert getattr(value, "__doc__", None)
    assert name in dir(fedchain)


def test_type_checkers_see_the_names_that_programs_get():
    """The three lists of names in the file are one list."""
    tree = ast.parse((ROOT / "fedchain.py").read_text(encoding="utf-8"))
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {(node.module, name.name) for node in typed.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert seen == {(module, name) for module, names in fedchain._NAMES.items() for name in names}
    assert {name for _, name in seen} == set(fedchain.__all__)


def test_an_unknown_name_is_refused_with_those_that_exist():
    """As for any module, but with a hint."""
    with pytest.raises(AttributeError, match="train_federated"):
        fedchain.train_federatedly  # noqa: B018


def test_the_examples_are_true(monkeypatch: pytest.MonkeyPatch):
    """The documentation's examples run as they stand."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("fl.data.sources._MAKERS", {})
    result = doctest.testmod(fedchain)
    assert result.attempted >= 8
    assert result.failed == 0


@pytest.mark.processes
def test_asking_a_node_does_not_load_the_numerical_libraries():
    """A program with nothing but a client stays small."""
    code = (
        "import fedchain, sys; fedchain.Client; print([m for m in ('numba', 'scipy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
