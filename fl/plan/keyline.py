"""A committee's key in a plan's text: put in where it stands, or where it belongs, and nothing else is touched.

People write plans with comments of their own; what is dealt later goes into one line of them.
"""

import re
from typing import Final

from fl.errors import PlanError, Problem

_TABLE: Final = re.compile(r"^[ \t]*\[aggregation\][ \t]*(#.*)?$", re.MULTILINE)
_NEXT_TABLE: Final = re.compile(r"^[ \t]*\[", re.MULTILINE)
_KEY: Final = re.compile(r'^[ \t]*key[ \t]*=[ \t]*"[0-9a-fA-F]*"', re.MULTILINE)


def put_key(text: str, key: bytes) -> str:
    """Return a plan's TOML text with this key under ``[aggregation]``. ``PlanError`` if it has no such table."""
    table = _TABLE.search(text)
    if table is None:
        allowed = "is missing: a committee's key stands under a table of its own, [aggregation]"
        raise PlanError([Problem("aggregation", "", allowed)])
    following = _NEXT_TABLE.search(text, table.end())
    end = len(text) if following is None else following.start()
    line, section = f'key = "{key.hex()}"', text[table.end() : end]
    if _KEY.search(section):
        section = _KEY.sub(line, section, count=1)
    else:
        section = f"\n{line}{section}"
    return text[: table.end()] + section + text[end:]
