"""What the repository says about the RPC and the settings, from their own tables: ``python -m node.reference``.

It writes node/rpc/openrpc.json and the tables of docs/rpc.md and docs/operating.md. They stand in the repository so
that a change of a method or a setting is seen in review; a test fails if they are stale.
"""

import json
from collections.abc import Mapping
from dataclasses import fields as settings_of
from pathlib import Path
from typing import Final

from msgspec.structs import fields

from node.config import Check, Config, to_toml
from node.rpc.methods import make_registry, openrpc_document

ROOT: Final = Path(__file__).resolve().parents[1]
_MARK: Final = "<!-- {}: written by python -m node.reference -->\n"


def render_files() -> Mapping[Path, str]:
    """Return the text of every file that is written from a table."""
    rpc, operating = ROOT / "docs" / "rpc.md", ROOT / "docs" / "operating.md"
    document = json.dumps(openrpc_document(make_registry()), indent=1, sort_keys=True, ensure_ascii=False)
    return {
        ROOT / "node" / "rpc" / "openrpc.json": document + "\n",
        rpc: _replace(rpc, "methods", _methods_table()),
        operating: _replace(operating, "settings", _settings_table()),
    }


def _replace(file: Path, name: str, table: str) -> str:
    """Return a page's text with what stands between the marks of ``name`` made anew."""
    begin, end = _MARK.format(name), _MARK.format(f"end of {name}")
    before, found, rest = file.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"{file} has lost the marks around its {name}")
    return before + begin + table + end + after


def _methods_table() -> str:
    rows = ["| method | parameters | result | cookie | |", "|---|---|---|---|---|"]
    for _, method in sorted(make_registry().methods.items()):
        names = ", ".join(field.name if field.required else f"{field.name}?" for field in fields(method.params))
        result = str(getattr(method.result, "__name__", "object"))
        if result == "tuple":
            result = f"list of {method.result.__args__[0].__name__}"
        rows.append(
            f"| `{method.name}` | {names} | {'object' if result == 'dict' else result} "
            f"| {'yes' if method.guarded else ''} | {method.summary} |"
        )
    return "\n".join(rows) + "\n"


def _settings_table() -> str:
    rows = ["| setting | default | |", "|---|---|---|"]
    for section in settings_of(Config):
        values = getattr(Config(), section.name)
        for setting in settings_of(values):
            check: Check = setting.metadata["check"]
            default = to_toml(getattr(values, setting.name))
            meaning = f"{setting.metadata['meaning']} ({check.allowed})".replace("|", "\\|")
            rows.append(f"| `{section.name}.{setting.name}` | `{default}` | {meaning} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write the files."""
    for path, text in render_files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
