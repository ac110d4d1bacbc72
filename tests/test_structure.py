"""What holds for the whole tree: no circles of imports, no room that a test forgot."""

from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("chain", "fl", "consensus", "storage", "p2p", "node", "commands")


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Return which modules of the rooms each module imports."""
    graph = grimp.build_graph(*ROOMS, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def find_circle(imports: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, or an empty list."""
    state: dict[str, int] = {}

    def visit(module: str, path: list[str]) -> list[str]:
        if state.get(module) == 2:
            return []
        if state.get(module) == 1:
            return [*path[path.index(module) :], module]
        state[module] = 1
        for imported in sorted(imports[module]):
            circle = visit(imported, [*path, module])
            if circle:
                return circle
        state[module] = 2
        return []

    for module in sorted(imports):
        circle = visit(module, [])
        if circle:
            return circle
    return []


def test_no_two_files_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    """Data flows one way, file by file."""
    assert find_circle(imports) == []


def test_a_circle_is_found_where_there_is_one() -> None:
    """The search itself can fail."""
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_every_room_has_tests() -> None:
    """Tests mirror the rooms."""
    assert [room for room in ROOMS if not any((ROOT / "tests" / room).rglob("test_*.py"))] == []
