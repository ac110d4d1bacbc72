"""How events of the log look to people: a sentence for what nodes do all day, ``name=value`` for the rest.

Every line begins with the local time; ids are shortened, and long lines go on below themselves, so that a terminal
of 80 columns stays readable. Whatever a line leaves out stands whole in ``logs/node.log``.

Rules of this file: texts only; events come redacted, without control characters.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from textwrap import wrap
from typing import Final

from structlog.typing import EventDict

_SHORT: Final = 12
"""Digits of an id in a line; they name it to every command."""
_SHORT_ACCOUNT: Final = 14
_COIN: Final = 10**6
_HEX_ID: Final = re.compile(r"\b[0-9a-f]{64}\b")
_ACCOUNT: Final = re.compile(r"\b([a-z]{1,16}1[02-9ac-hj-np-z]{58,74})\b")
_CALM: Final = timedelta(milliseconds=500)
"""New heads are told at most this often; a node that syncs has thousands."""
_HEAD: Final = "head-moved"
_MARKS: Final = {"warning": ("Warning: ", "33"), "error": ("Error: ", "31;1"), "critical": ("Error: ", "31;1")}
_DIM: Final = "2"
_KNOWN: Final = frozenset({"event", "level", "time", "exception"})


class LogLines:
    """Turns events into lines. It remembers the node's account, to know its own blocks, and the last head it told."""

    def __init__(self, *, width: Callable[[], int] | None, has_colours: bool) -> None:
        """``width`` returns the terminal's columns; None for what is no terminal: whole lines, with the date."""
        self._width = width
        self._has_colours = has_colours
        self._account = ""
        self._told_head: datetime | None = None
        self._untold = (0, 0, 0)
        """Blocks, transactions and updates of the heads left out since the last one told."""

    def line(self, event: EventDict) -> str | None:
        """Return the event as text, or None for a head that moved so soon after the last one that nobody could read."""
        event, time = dict(event), datetime.fromisoformat(event["time"])
        kind = str(event.get("event", ""))
        if kind == "node started":
            self._account = str(event.get("account", ""))
        if kind == _HEAD and not self._is_told(event, time):
            return None
        mark, colour = _MARKS.get(str(event.get("level")), ("", ""))
        lines = self._wrapped(mark + self._text(kind, event), time)
        if mark:
            lines[0] = lines[0].replace(mark, self._coloured(mark, colour), 1)
        if "exception" in event:
            lines.append(str(event["exception"]))
        return "\n".join(lines)

    def _is_told(self, event: EventDict, time: datetime) -> bool:
        """Is this head told? Those that are not are counted, and told with the next one."""
        blocks, transactions, updates = self._untold
        event["connected"] += blocks
        event["transactions"] += transactions
        event["updates"] += updates
        if self._told_head is not None and time - self._told_head < _CALM and not event["undone"]:
            self._untold = event["connected"], event["transactions"], event["updates"]
            return False
        self._told_head, self._untold = time, (0, 0, 0)
        return True

    def _wrapped(self, text: str, time: datetime) -> list[str]:
        """Return the text after the time, its further lines below its first."""
        local = time.astimezone()
        if self._width is None:
            return [f"{local:%Y-%m-%d %H:%M:%S}  {text}"]
        stamp = f"{local:%H:%M:%S}  "
        room = max(20, self._width() - len(stamp))
        first, *others = wrap(text, room, break_on_hyphens=False) or [""]
        return [self._coloured(stamp, _DIM) + first, *(" " * len(stamp) + line for line in others)]

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._has_colours else text

    def _text(self, kind: str, event: EventDict) -> str:
        sentence = _SENTENCES.get(kind)
        if kind == "ledger":
            sentence = _LEDGER.get(str(event.get("what")))
        if sentence is None:
            return _generic(kind, event)
        try:
            text = shorten(sentence(event))
        except KeyError:  # an event of this name with other fields, of a library maybe
            return _generic(kind, event)
        is_own = kind == _HEAD and self._account and event.get("producer") == self._account
        return f"{text}  mined here" if is_own else text


def shorten(text: str) -> str:
    """Return a text with its ids and accounts cut to what tells them apart."""
    text = _HEX_ID.sub(lambda found: found[0][:_SHORT], text)
    return _ACCOUNT.sub(lambda found: f"{found[1][:_SHORT_ACCOUNT]}…", text)


def _generic(kind: str, event: EventDict) -> str:
    fields = " ".join(f"{name}={shorten(str(value))}" for name, value in event.items() if name not in _KNOWN)
    return f"{kind}  {fields}".rstrip()


def _head_text(event: EventDict) -> str:
    height, connected, undone = int(event["height"]), int(event["connected"]), int(event["undone"])
    place = f"block {height}" if connected <= 1 else f"blocks {height - connected + 1} … {height}"
    held = [
        _counted(count, thing)
        for thing, count in (("transaction", int(event["transactions"])), ("update", int(event["updates"])))
        if count
    ]
    back = f"  reorganised: {undone} undone" if undone else ""
    return "  ".join([place, str(event["id"]), *([", ".join(held)] if held else [])]) + back


def _started_text(event: EventDict) -> str:
    roles = ", ".join(event["roles"]) or "follows the chain"
    rpc = f", RPC at {event['rpc']}" if event["rpc"] else ", no RPC"
    return (
        f"node started: {event['chain_id']}, block {event['height']}; {roles}; account {event['account']}; "
        f"peers at {event['listening']}{rpc}"
    )


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _coins(units: object) -> str:
    whole, rest = divmod(int(str(units)), _COIN)
    fraction = f"{rest:06d}".rstrip("0")
    return f"{whole:,}" + (f".{fraction}" if fraction else "") + " coins"


def _ended_text(event: EventDict, ended: str) -> str:
    return (
        f"plan {event['plan']}: {ended} after {_counted(event['rounds'], 'round')}, {event['reason']}; "
        f"{_coins(event['refund'])} go back to its owner"
    )


_SENTENCES: Final[Mapping[str, Callable[[EventDict], str]]] = {
    _HEAD: _head_text,
    "node started": _started_text,
    "stopping": lambda event: f"stopping ({event['reason']})",
    "node stopped": lambda event: "node stopped" if event["code"] == 0 else f"node stopped, exit code {event['code']}",
    "status-changed": lambda event: event["state"] + (f": {event['reason']}" if event["reason"] else ""),
    "peer-joined": lambda event: f"peer {event['peer']} connected",
    "peer-left": lambda event: f"peer {event['peer']} is gone",
    "connection closed": lambda event: f"connection with {event['address']} closed by {event['by']}: {event['reason']}",
    "connection refused": lambda event: f"connection from {event['address']} refused: {event['reason']}",
    "connection cut": lambda event: f"connection with {event['address']} cut: {event['reason']}",
    "block-mined": lambda event: f"mined block {event['height']}  {event['id']}",
    "block-refused": lambda event: f"block {event['height']} {event['id']} refused: {event['rule']}: {event['detail']}",
    "update-refused": lambda event: (
        f"plan {event['plan']}: update of device {event['device']} refused: {event['rule']}: {event['detail']}"
    ),
    "role": lambda event: f"{event['role']}: {event['text']}" + (f" (plan {event['plan']})" if event["plan"] else ""),
}
_LEDGER: Final[Mapping[str, Callable[[EventDict], str]]] = {
    "plan.submitted": lambda event: (
        f"plan {event['plan']}: submitted with {_coins(event['escrow'])}, enrols devices until block "
        f"{event['deadline']}"
    ),
    "task.opened": lambda event: (
        f"plan {event['plan']}: round {event['round'] + 1}, phase {event['phase'] + 1} asks "
        f"{_counted(event['selected'], 'device')} until block {event['deadline']}"
    ),
    "round.settled": lambda event: (
        f"plan {event['plan']}: round {event['round'] + 1} settled, {_counted(event['devices'], 'device')}"
    ),
    "round.retried": lambda event: (
        f"plan {event['plan']}: round {event['round'] + 1} is tried again, attempt {event['attempt'] + 1}: "
        f"{event['reason']}"
    ),
    "update.refused": lambda event: (
        f"plan {event['plan']}: update of device {event['device']} refused: {event['reason']}"
    ),
    "plan.finished": lambda event: _ended_text(event, "finished"),
    "plan.cancelled": lambda event: _ended_text(event, "cancelled"),
}
"""What happened in a block, by ``what``."""
