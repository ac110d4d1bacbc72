"""Who is not spoken to for a while: identities, and hosts they came from; and the points that lead there.

Misbehaviour gives points, which halve every ``POINTS_HALF_LIFE_MS``: mistakes that happen now and then are forgiven,
the same in a row ban at ``BAN_POINTS``. What only a broken or hostile node does is worth that many at once. A loopback
host is never banned, because every node on a machine has it. Memory is bounded: of too many subjects the oldest are
forgotten. The operator's own bans are of the same kind. A host stands for its site (``endpoints.site_of``): an IPv6
address for its /64.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from chain.ids import AccountId, Millis
from p2p.endpoints import Reach, parse_host, reach_of, site_of
from p2p.errors import EndpointError
from p2p.events import PeerId
from p2p.limits import BAN_POINTS, MAX_BANS, MAX_REASON, POINTS_HALF_LIFE_MS
from p2p.messages import printable
from p2p.saved import SavedBan

Subject: TypeAlias = PeerId | str
"""Who: an identity, or a host."""

_SCALE: Final = 1 << 20
"""Points are kept this much larger, so that halves of small numbers are integers."""


def parse_subject(text: str) -> Subject:
    """Return the subject of a text: 64 hexadecimal digits are an identity, else it is a host. ``EndpointError``."""
    if len(text) == 64 and all(digit in "0123456789abcdef" for digit in text):
        return AccountId(bytes.fromhex(text))
    return parse_host(text)


def settle_subject(subject: Subject) -> Subject:
    """Return what a subject is kept under: a host's site."""
    return site_of(subject) if isinstance(subject, str) else subject


def subject_text(subject: Subject) -> str:
    """Return the text that ``parse_subject`` reads."""
    return subject if isinstance(subject, str) else subject.hex()


@dataclass(frozen=True, slots=True)
class _Points:
    """Points as they were at a time, times ``_SCALE``."""

    scaled: int
    at: Millis

    def left(self, now: Millis) -> int:
        """Return what is left of them: halved with each half-life, on a straight line in between."""
        halvings, rest = divmod(max(0, now - self.at), POINTS_HALF_LIFE_MS)
        scaled = self.scaled >> min(halvings, 64)
        return scaled - scaled * rest // (2 * POINTS_HALF_LIFE_MS)


class Bans:
    """Points and bans by subject; a ban that nobody gave another span lasts ``ban_ms``."""

    def __init__(self, ban_ms: int) -> None:
        self._ban_ms = ban_ms
        self._points: dict[Subject, _Points] = {}
        self._bans: dict[Subject, SavedBan] = {}

    # ── misbehaviour ──────────────────────────────────────────────────────────────────────────────────────────────

    def punish(self, peer: PeerId | None, host: str, points: int, reason: str, now: Millis) -> None:
        """Give points to an identity, if it is known, and to its host."""
        if peer is not None:
            self._add(peer, points, reason, now)
        if reach_of(host) is not Reach.LOOPBACK:
            self._add(host, points, reason, now)

    def _add(self, subject: Subject, points: int, reason: str, now: Millis) -> None:
        subject = settle_subject(subject)
        before = self._points.pop(subject, None)
        scaled = (0 if before is None else before.left(now)) + points * _SCALE
        self._points[subject] = _Points(scaled, now)
        if len(self._points) > MAX_BANS:
            del self._points[next(iter(self._points))]
        if scaled >= BAN_POINTS * _SCALE:
            self.ban(subject, Millis(now + self._ban_ms), reason)

    def points(self, subject: Subject, now: Millis) -> int:
        """Return the points a subject has now, rounded up."""
        found = self._points.get(settle_subject(subject))
        return 0 if found is None else -(-found.left(now) // _SCALE)

    # ── bans ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def ban(self, subject: Subject, until: Millis, reason: str) -> None:
        """Ban a subject. ``EndpointError`` for this machine itself."""
        if isinstance(subject, str) and reach_of(subject) is Reach.LOOPBACK:
            raise EndpointError(f"{subject} is this machine: ban the node's account instead")
        subject = settle_subject(subject)
        self._bans.pop(subject, None)
        self._bans[subject] = SavedBan(subject_text(subject), until, printable(reason)[:MAX_REASON])
        if len(self._bans) > MAX_BANS:
            del self._bans[next(iter(self._bans))]

    def unban(self, subject: Subject) -> bool:
        """Let a subject back in, its points forgiven; was it banned?"""
        subject = settle_subject(subject)
        self._points.pop(subject, None)
        return self._bans.pop(subject, None) is not None

    def restore(self, saved: SavedBan, now: Millis) -> None:
        """Take up a ban of an earlier run, unless it is over; what can't be banned is left out."""
        if saved.until > now:
            try:
                self.ban(parse_subject(saved.subject), saved.until, saved.reason)
            except EndpointError:
                return  # a name or address that this version does not take for one

    def listed(self, now: Millis) -> tuple[SavedBan, ...]:
        """Return the bans that last, the oldest first."""
        return tuple([ban for ban in self._bans.values() if ban.until > now])

    def has(self, subject: Subject, now: Millis) -> bool:
        """Is the subject banned?"""
        subject = settle_subject(subject)
        ban = self._bans.get(subject)
        if ban is None:
            return False
        if ban.until > now:
            return True
        del self._bans[subject]
        return False
