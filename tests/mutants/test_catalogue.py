"""The catalogue of mutants fits the source as it stands: a fault that can't be put in would prove nothing."""

import re
from pathlib import Path

import pytest

from tests.mutants.base import MisfitError, Mutant, mutate, room_of
from tests.mutants.catalogue import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_has_its_place_and_is_still_python(mutant: Mutant) -> None:
    """Its text stands in its file once, and what comes of it compiles."""
    compile(mutate(mutant, (ROOT / mutant.path).read_text()), mutant.path, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_asks_tests_that_exist(mutant: Mutant) -> None:
    """Files, directories and functions; the runner would stop at one that is gone."""
    assert mutant.tests
    assert [test for test in mutant.tests if not is_there(test)] == []
    assert (ROOT / room_of(mutant.path)).is_dir()


def is_there(test: str) -> bool:
    """Return whether an argument of pytest names something."""
    path, *names = test.partition("[")[0].split("::")
    return (ROOT / path).exists() and all(
        re.search(rf"^ *(?:async def|def|class) {name}\b", (ROOT / path).read_text(), re.MULTILINE) for name in names
    )


def test_a_test_that_is_gone_is_noticed() -> None:
    """Its file, or its name in the file."""
    here = "tests/mutants/test_catalogue.py"
    assert is_there(f"{here}::test_a_test_that_is_gone_is_noticed")
    assert not is_there(f"{here}::test_a_test_that_is")
    assert not is_there("tests/mutants/test_catalogues.py")


def test_there_are_at_least_forty_and_no_two_share_a_name() -> None:
    """As many as docs/security.md says."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_a_mutant_that_does_not_fit_is_refused() -> None:
    """Whether its text is gone or stands there twice."""
    for source in ("", "x x"):
        with pytest.raises(MisfitError):
            mutate(Mutant("none", "nowhere.py", "x", "y", ()), source)
