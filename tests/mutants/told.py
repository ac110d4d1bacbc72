"""A plugin that tells the runner what a run of tests was: who failed first, how long each took, what was loaded.

It is loaded into the pytest of a copy (``-p tests.mutants.told``) and writes one JSON object to the file that
``FEDCHAIN_TOLD`` names, once at the end: a run that died before tells nothing.
"""

import json
import os
import sys
from collections import defaultdict
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_seconds: defaultdict[str, float] = defaultdict(float)
_failed: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test's setup, call and end; note that it failed."""
    _seconds[report.nodeid] += report.duration
    if report.failed:
        _failed.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a file of tests that can't even be loaded."""
    if report.failed:
        _failed.append(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write it down."""
    told = {"failed": _failed[:1], "seconds": dict(_seconds), "places": sorted(loaded_places())}
    Path(os.environ["FEDCHAIN_TOLD"]).write_text(json.dumps(told), encoding="utf-8")


def loaded_places() -> set[str]:
    """Return the directories of this repository from which a module was loaded, but for this one."""
    files = [Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]
    places = {file.parent.relative_to(_ROOT) for file in files if file.is_relative_to(_ROOT)}
    return {str(place) for place in places if place != Path("tests/mutants")}
