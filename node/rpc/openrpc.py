"""The OpenRPC document as a file: ``python -m node.rpc.openrpc`` writes node/rpc/openrpc.json and docs/rpc.md's table.

Both stand in the repository so that people can read what a change of a method changes; a test fails if they are stale.
"""

import json
from pathlib import Path
from typing import Final

from msgspec.structs import fields

from node.rpc.methods import make_registry, openrpc_document

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = Path(__file__).with_name("openrpc.json")
REFERENCE: Final = ROOT / "docs" / "rpc.md"
_BEGIN: Final = "<!-- methods: written by python -m node.rpc.openrpc -->\n"
_END: Final = "<!-- end of methods -->\n"


def render_document() -> str:
    """Return the text of openrpc.json."""
    return json.dumps(openrpc_document(make_registry()), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def render_reference(text: str) -> str:
    """Return the text of docs/rpc.md with its table of methods made anew."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{REFERENCE} has lost the marks around its table of methods")
    return before + begin + _table() + end + after


def _table() -> str:
    rows = ["| method | parameters | result | cookie | |", "|---|---|---|---|---|"]
    for _, method in sorted(make_registry().methods.items()):
        required = {field.name for field in fields(method.params) if field.required}
        names = ", ".join(name if name in required else f"{name}?" for name in method.params.__struct_fields__)
        result = str(getattr(method.result, "__name__", "object"))
        if result == "tuple":
            result = f"list of {method.result.__args__[0].__name__}"
        rows.append(
            f"| `{method.name}` | {names} | {'object' if result == 'dict' else result} "
            f"| {'yes' if method.guarded else ''} | {method.summary} |"
        )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write both files."""
    DOCUMENT.write_text(render_document(), encoding="utf-8")
    REFERENCE.write_text(render_reference(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
