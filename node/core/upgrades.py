"""Upgrades as this node speaks of them: which rules come, when, and what its operator should do before.

What stops a node is told by ``node.core.outdated``; this part says it ahead of time, and says when new rules have come.
"""

from typing import Final

from chain.upgrades import find_unknown
from node.core.chain import Chain
from node.core.messages import HeadChanged
from node.core.outdated import known_versions
from node.core.turn import Turn
from node.events import Started
from node.notices import RoleNotice

_REMINDERS: Final = (10_000, 1_000, 100, 10, 1)
"""Blocks before a change of the rules at which the node speaks of it, besides at its start."""


class UpgradeWatch:
    """Speaks of changes of the rules ahead of them, and when they come."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._genesis = chain.world.genesis
        self._unknown = find_unknown(self._genesis)

    def on_started(self, event: Started, turn: Turn) -> None:
        """Say what is ahead."""
        self._remind(self._chain.height, None, turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Say it again when it comes nearer, and when new rules are in force."""
        if not changed.connected:
            return
        head, first = changed.head.height, changed.connected[0].header.height
        for rules in self._genesis.all_rules[1:]:
            before = self._genesis.rules_at(rules.height - 1)
            if first <= rules.height <= head and rules.version != before.version:
                _say(f"rules version {rules.version} are in force since block {rules.height}", turn)
        self._remind(head, first - 1, turn)

    def _remind(self, head: int, before: int | None, turn: Turn) -> None:
        """Speak of rules that this software can't follow, if a reminder lies between two heads."""
        if self._unknown is None or head >= self._unknown.height:
            return
        left = self._unknown.height - head
        was = None if before is None else self._unknown.height - before
        if was is None or any(left <= mark < was for mark in _REMINDERS):
            release = self._unknown.release or "a later release"
            _say(
                f"in {left} blocks, from block {self._unknown.height} on, this network follows rules version "
                f"{self._unknown.version}; this fedchain knows {known_versions()} and stops there: install {release}",
                turn,
            )


def _say(text: str, turn: Turn) -> None:
    turn.publish(RoleNotice("node", b"", text))
