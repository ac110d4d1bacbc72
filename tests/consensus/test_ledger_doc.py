"""docs/ledger.md names every rule and every key, and no other."""

import re
from pathlib import Path
from typing import get_args

from chain.transaction import Body
from consensus import statekeys
from consensus.staking import state as staking_state

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
SOURCES = [
    *(ROOT / "consensus" / "rules").glob("*.py"),
    *(ROOT / "consensus" / "staking").glob("*.py"),
    ROOT / "consensus" / "transition.py",
]
RULE = re.compile(r'"((?:transaction|transfer|device|miner|stake|plan|update|block)\.[a-z_.]+)"')


def test_the_page_names_every_rule():
    """A rule that is added or renamed must be said to users."""
    named = {name for path in SOURCES for name in RULE.findall(path.read_text(encoding="utf-8"))}
    named |= {f"block.{claim}" for claim in ("version", "chain", "height", "time", "producer", "extension")}
    told = set(re.findall(r"`((?:transaction|transfer|device|miner|stake|plan|update|block)\.[a-z_.]+)`", PAGE))
    kinds = {str(kind.__struct_config__.tag) for kind in get_args(Body)}
    assert told - kinds == named
    assert len(named) > 50


def test_the_page_names_every_key():
    """The table of keys is that of consensus.statekeys."""
    told = set(re.findall(r"`(s/[a-z_]+)", PAGE))
    sources = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (statekeys, staking_state)]
    there = {key for source in sources for key in re.findall(r'b"(s/[a-z_]+)', source)}
    assert told == there
