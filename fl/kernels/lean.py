"""Importing a library without what it would take along if that is installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast


@contextmanager
def hidden(name: str) -> Iterator[None]:
    """Make ``import name`` fail inside, as if it were not installed; do nothing if it was imported before."""
    if name in sys.modules:
        yield
        return
    modules = cast(dict[str, ModuleType | None], sys.modules)
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
