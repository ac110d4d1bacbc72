"""What the core publishes reaches who listens, and costs nothing where nobody does."""

import asyncio
import io
from typing import Literal

import pytest

from chain.ids import Hash, Millis
from node.config import LogSettings
from node.effects import Publish
from node.logs import NodeLog
from node.metrics import Metrics
from node.notices import TransactionSeen
from node.rpc.hub import EventHub
from node.service import announce
from node.service.announce import Announcer
from tests.node.service.houses import RICH

Level = Literal["debug", "info"]
SEEN = Publish("pool", TransactionSeen(Hash(bytes(32)), RICH.account, "transfer"))


def announcer(hub: EventHub, level: Level, text: io.StringIO) -> tuple[Announcer, NodeLog, Metrics]:
    log, metrics = NodeLog(LogSettings(level=level, json=True), None, text), Metrics("1", "here", "00")
    return Announcer(hub, metrics, log.logger, "fed"), log, metrics


def test_what_nobody_hears_is_counted_and_not_put_into_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full block is thousands of notices: showing each one, its addresses above all, would hold up the event loop."""
    shown: list[object] = []

    def show(notice: object, prefix: str) -> dict[str, str]:
        shown.append(notice)
        return {"kind": "x"}

    monkeypatch.setattr(announce, "show", show)
    hub = EventHub()
    teller, log, _metrics = announcer(hub, "info", io.StringIO())
    with log:
        teller.announce(SEEN, Millis(1))
        assert not shown
        with hub.subscribe(["ledger"]):
            teller.announce(SEEN, Millis(2))
        assert not shown
        with hub.subscribe(["pool"]):
            teller.announce(SEEN, Millis(3))
    assert len(shown) == 1


def test_events_are_numbered_whether_or_not_anybody_heard_them() -> None:
    """A subscriber's first event has the number that says how many it has missed."""

    async def listen() -> int:
        hub = EventHub()
        teller, log, _ = announcer(hub, "info", io.StringIO())
        with log:
            teller.announce(SEEN, Millis(1))
            teller.announce(SEEN, Millis(2))
            with hub.subscribe(["pool"]) as heard:
                teller.announce(SEEN, Millis(3))
                return (await anext(heard)).number

    assert asyncio.run(listen()) == 3


def test_the_log_hears_what_its_level_asks_for() -> None:
    """At level debug a transaction is worth a line though nobody has subscribed."""
    cases: tuple[tuple[Level, int], ...] = (("info", 0), ("debug", 1))
    for level, lines in cases:
        text = io.StringIO()
        teller, log, _ = announcer(EventHub(), level, text)
        with log:
            teller.announce(SEEN, Millis(1))
        assert text.getvalue().count("transaction-seen") == lines
