"""Settings of the whole suite: Hypothesis profiles, and one printed seed for every test that draws its own chances.

``HYPOTHESIS_PROFILE`` chooses the profile: ``ci`` (the default) runs the same examples every time, ``dev`` draws new
ones, ``mutants`` does what ``ci`` does but makes no failing example smaller: that it fails is all that is asked.
``FEDCHAIN_SEED`` sets the seed; without it ``dev`` draws one, the others take 1. The header of the run
shows both.
"""

import os
import secrets

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "ci",
    max_examples=50,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "mutants",
    settings.get_profile("ci"),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.target),
    report_multiple_bugs=False,
)
settings.register_profile("dev", max_examples=100, deadline=None, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)
SEED = int(os.environ.get("FEDCHAIN_SEED") or (secrets.randbelow(2**32) if PROFILE == "dev" else 1))
os.environ["FEDCHAIN_SEED"] = str(SEED)  # for the worker processes of a parallel run


def pytest_report_header() -> str:
    return f"seeds: hypothesis profile {PROFILE}, FEDCHAIN_SEED={SEED}"


@pytest.fixture(scope="session")
def seed() -> int:
    """The number that seeds every random choice a test makes outside Hypothesis."""
    return SEED
