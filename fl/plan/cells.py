"""What the text of a cell means: a number, a missing value, or a word.

Rules of this file: one reading for plans and data files alike, so that a class "1" in a plan is the 1.0 of a
CSV file and the 1 of a LIBSVM file.
"""

import math
import re
from typing import Final

MISSING_WORDS: Final = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "#n/a"})
"""Texts, in lower case, that stand for a value nobody recorded."""
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def is_missing(text: str) -> bool:
    """Does this text, stripped, stand for a missing value?"""
    return text.lower() in MISSING_WORDS


def as_number(text: str) -> float | None:
    """Return the float64 nearest to a decimal number's text; None if the text is something else or overflows."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def canonical(text: str) -> float | str:
    """Return what categories and classes are compared by: the number a text is, else the text stripped."""
    text = text.strip()
    number = as_number(text)
    return text if number is None else number + 0.0  # -0.0 becomes 0.0
