"""``simulate``: a small world, and settings that make none."""

import pytest

from tests.commands.terminal import WIDTH, done, fedchain

SMALL = ("--nodes", 2, "--devices", 1, "--miners", 1, "--seconds", 20, "--plans", 1, "--faults", "none")


def test_a_small_world_comes_to_rest_the_same_way_each_time():
    """Every invariant holds, and the digest over all that happened is the seed's."""
    first, second = (done("simulate", *SMALL, "--seed", 5) for _ in range(2))
    assert first["good"]
    assert first["digest"] == second["digest"]
    assert first["blocks"] > 0


def test_it_tells_people_how_to_see_it_again():
    """The command that repeats the run."""
    answer = fedchain("simulate", *SMALL, "--seed", 6)
    assert answer.code == 0
    assert "every invariant held" in answer.out
    assert "fedchain simulate --nodes 2" in answer.out
    assert "--seed 6" in answer.out


@pytest.mark.parametrize(
    ("words", "cause"),
    [(["--faults", "gremlins"], "gremlins"), (["--nodes", "0"], "nodes = 0"), (["--engine", "x"], "x")],
)
def test_a_world_that_cannot_be_made_is_wrong_use(words: list[str], cause: str):
    """With what is allowed."""
    answer = fedchain("simulate", *words, "--json")
    assert answer.code == 2
    assert cause in answer.error["cause"]


def test_many_worlds_are_summed_up():
    """One run a seed, in order; none failed."""
    answer = done("simulate", *SMALL, "--seed", 8, "--seeds", 2)
    assert answer["good"]
    assert answer["failed"] == []
    assert [run["seed"] for run in answer["runs"]] == [8, 9]


def test_a_fault_that_never_happened_fails_the_run_and_names_its_command():
    """A lone machine has no connection that could be reset: asked for, not injected, so exit code 1."""
    lonely = ("--nodes", 1, "--devices", 0, "--seconds", 10, "--faults", "duplicate", "--seed", 3)
    answer = fedchain("simulate", *lonely)
    assert answer.code == 1
    assert "Seed 3 failed" in answer.err
    assert "fedchain simulate --nodes 1" in answer.err


def test_what_broke_is_told_within_the_terminals_width(monkeypatch: pytest.MonkeyPatch):
    """A long violation goes on below itself and no id is cut; the command to copy stays on one line, on its own."""
    heads = [f"{height} {height:012x}" for height in (10, 9, 8, 7)]
    text = f"one head: 180 s after mining stopped there are {', '.join(heads)}"
    monkeypatch.setattr(
        "node.simulator.invariants.Invariants.check_end",
        lambda self, machine: self.fail(None, *text.split(": ", 1)),
    )
    answer = fedchain("simulate", *SMALL, "--seed", 6)
    assert answer.code == 1
    lines = answer.out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("  - "))
    told = lines[start : next(number for number, line in enumerate(lines) if number > start and line[:4].strip())]
    assert len(told) > 1
    assert all(len(line) <= WIDTH for line in told)
    assert all(line.startswith("    ") for line in told[1:] if line)
    words = " ".join(line.strip() for line in told)
    assert all(head.split()[1] in words for head in heads)
    assert [line for line in answer.err.splitlines() if line.startswith("  fedchain simulate") and "--seed 6" in line]
