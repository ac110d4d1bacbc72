"""A function is a screen: no room has one longer than seventy lines."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("chain", "fl", "consensus", "storage", "p2p", "node", "commands")
MOST = 70


def _functions() -> list[tuple[str, int]]:
    files = [
        *(ROOT / "cli.py", ROOT / "fedchain.py"),
        *(file for room in ROOMS for file in (ROOT / room).rglob("*.py")),
    ]
    return [
        (f"{file.relative_to(ROOT)}::{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_no_function_is_longer_than_a_screen() -> None:
    """What is longer is cut into parts that have names."""
    functions = _functions()
    assert len(functions) > 2_000, "the rooms were looked through"
    assert [name for name, lines in functions if lines > MOST] == []
