"""The environment of a peer holds whatever our own code needs there."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_NEEDED = {"fedchain", "scipy", "setuptools"}
"""Ours, and what numba looks for and does without."""
LOADED = "import sys, numba, fl.executors.base; print(*{name.partition('.')[0] for name in sys.modules})"


def canonical(name: str) -> str:
    """A distribution's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_flowers_environment_holds_all_that_our_training_loads() -> None:
    """A client of Flower's trains by our functions: what they import must be installed beside Flower."""
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    owners = packages_distributions()
    needed = {canonical(name) for module in done.stdout.split() for name in owners.get(module, [])} - NOT_NEEDED
    locked = {
        canonical(name)
        for name in re.findall(r"(?m)^([\w.-]+)==", (ROOT / "requirements/bench-round.lock").read_text())
    }
    assert "numba" in needed
    assert needed <= locked
