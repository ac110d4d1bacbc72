"""Quiet about new blocks: a peer that hears of them sooner from others may ask to be told no more, until it asks again.

Rules of this file: who asked for quiet, the session knows; who is to be asked, the core does. Quiet concerns heads and
what the core calls sparing; all else is told as ever. A peer that wants to hear again is told at once.
"""

from collections.abc import Callable, Iterable

from chain.ids import Millis
from p2p.events import PeerId, PeerListens
from p2p.limits import RELAY_VERSION
from p2p.links import Links
from p2p.messages import Quiet
from p2p.session import Session


class QuietTalk:
    """Asking for quiet, and keeping it. ``release_head`` tells peers our head now, if they may not know it."""

    def __init__(self, links: Links, release_head: Callable[[Iterable[PeerId], Millis], None]) -> None:
        self._links = links
        self._release_head = release_head

    def ask(self, peer: PeerId, *, quiet: bool) -> None:
        """Ask a peer for quiet, or to tell again. One that does not know the message goes on as ever."""
        session = self._links.ready.get(peer)
        if session is not None and session.established.version >= RELAY_VERSION:
            self._links.send(session, Quiet(quiet))

    def on_quiet(self, session: Session, message: Quiet, now: Millis) -> None:
        """Keep quiet, or tell what there is to tell."""
        was_quiet, session.wants_quiet = session.wants_quiet, message.quiet
        if was_quiet and not message.quiet:
            self._release_head((session.peer,), now)
            self._links.emit(PeerListens(session.peer))
