"""How amounts, ids, times and facts look to people, within 80 columns.

Amounts travel as whole numbers of the smallest unit everywhere (plans, genesis, RPC, JSON). People may also write and
read coins: ``2.5coins`` is 2500000 units.

Rules of this file: texts and tables only.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from rich.table import Table
from rich.text import Text

from chain.genesis_default import COIN
from chain.ids import INT_MAX
from commands.output import AsIs, UsageFault, hanging

SHORT: Final = 12
"""Digits of an id that lists show."""
SHOWN_ACCOUNT: Final = 14
"""Characters of an account that lists show."""
_AMOUNT: Final = re.compile(r"([0-9]{1,19})|([0-9]{1,13}(?:\.[0-9]{1,6})?) ?coins?")


def parse_amount(text: str) -> int:
    """Return the units that ``2500000`` or ``2.5coins`` means. ``UsageFault`` if it means none."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise UsageFault(
            f"amount {text!r}: must be a whole number of units, or coins like 2.5coins",
            f"a coin is {COIN} units",
        )
    units = int(match[1]) if match[1] else int(Decimal(match[2]) * COIN)
    if units > INT_MAX:
        raise UsageFault(f"amount {text!r}: is more than the {INT_MAX} units that can exist")
    return units


def coins(units: int) -> str:
    """Return an amount as people read it, without needless zeros."""
    whole, rest = divmod(units, COIN)
    fraction = f"{rest:06d}".rstrip("0")
    text = f"{whole:,}" + (f".{fraction}" if fraction else "")
    return f"{text} coin" if units == COIN else f"{text} coins"


def short(id: str) -> str:
    """Return the beginning of an id, enough to tell it from others and to name it."""
    return id[:SHORT]


def facts(pairs: Iterable[tuple[str, object]]) -> AsIs:
    """Return labelled facts, one a line; those that are None are left out. Long sentences go on below themselves."""
    known = [(label, value) for label, value in pairs if value is not None]
    width = max((len(label) for label, _ in known), default=0) + 2
    lines = [
        Text.assemble((label.ljust(width), "dim"), value)
        if isinstance(value, Text)
        else hanging(label.ljust(width), "dim", str(value))
        for label, value in known
    ]
    return AsIs(Text("\n").join(lines))


def sentence(text: str, style: str = "") -> AsIs:
    """Return a line that is printed as it is, its paths whole."""
    return AsIs(Text(text, style))


def steps(*parts: tuple[str, str]) -> AsIs:
    """Return what to do next: sentences, each with the command that does it."""
    return AsIs(Text("\n".join(f"\n{sentence}\n  {command}" for sentence, command in parts)))


def listing(headings: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> Table:
    """Return a table; the headings in ``numbers`` are aligned to the right, the last column takes what is left."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(
            heading,
            justify="right" if heading in numbers else "left",
            no_wrap=place < len(headings) - 1,
            overflow="fold" if place == len(headings) - 1 else "ellipsis",
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return table


def moment(time_ms: int) -> str:
    """Return a time in UTC, to the second."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def minute(time_ms: int) -> str:
    """Return a time in UTC, to the minute, for columns whose heading says UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def span(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    for size, name, smaller, least in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {least}" if rest else f"{whole // size} {name}"
    raise AssertionError("unreachable: a minute or more has a unit")


def size(count: int) -> str:
    """Return a number of bytes in decimal units."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def counted(count: int, thing: str) -> str:
    """Return a number of things."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def measure(value: float | None) -> str:
    """Return a loss or a score, to four decimals; a dash for none."""
    return "–" if value is None else f"{value:.4f}"
