"""Proofs of epochs that ended: what a node needs before it can judge the headers of later ones.

The core says from which epoch on it wants them; one peer after another is asked, the likely ones first, until one has
some. The proofs are opaque here: the core checks them, each by the one before it.
"""

from random import Random
from typing import Final

from chain.ids import Hash, Millis
from p2p.access import ChainAccess
from p2p.events import EpochsArrived, PeerId
from p2p.limits import EPOCHS_ANSWER_MS, EPOCHS_RETRY_MS, MAX_EPOCHS, MAX_EPOCHS_BYTES, MAX_STRIKES, MessageClass
from p2p.links import Links
from p2p.messages import Epochs, GetEpochs
from p2p.session import Session

_KEY: Final = Hash(b"\x01" * 32)
"""What the answer to a question for epochs is owed under."""


class EpochSync:
    """Asks for epoch proofs, and answers who asks."""

    def __init__(self, links: Links, chain: ChainAccess, random: Random) -> None:
        self._links = links
        self._chain = chain
        self._random = random
        self._wanted: int | None = None
        self._asked: tuple[PeerId, Millis] | None = None
        self._fruitless: dict[PeerId, Millis] = {}  # who had none, and when to ask again
        links.on_down.append(self._on_down)

    @property
    def is_asking(self) -> bool:
        """Is the answer to a question awaited?"""
        return self._asked is not None

    @property
    def is_wanting(self) -> bool:
        """Are proofs wanted that are not here?"""
        return self._wanted is not None or self._asked is not None

    def want(self, first: int | None, now: Millis) -> None:
        """Fetch the proofs from epoch ``first`` on; None: no more are wanted."""
        self._wanted = first
        self._ask(now)

    def _ask(self, now: Millis) -> None:
        if self._wanted is None or self._asked is not None:
            return
        able = [
            session
            for peer, session in self._links.ready.items()
            if self._fruitless.get(peer, now) <= now and (_KEY, 0) not in session.owed[MessageClass.CONSENSUS]
        ]
        if not able:
            return
        highest = max(session.height for session in able)
        session = self._random.choice([each for each in able if each.height == highest])
        if self._links.send(session, GetEpochs(self._wanted)):
            session.owes(MessageClass.CONSENSUS, _KEY, now)
            self._asked = session.peer, Millis(now + EPOCHS_ANSWER_MS)

    def tick(self, now: Millis) -> None:
        """Give up on an answer that is late, and ask on."""
        if self._asked is not None and now >= self._asked[1]:
            peer, self._asked = self._asked[0], None
            self._fruitless[peer] = Millis(now + EPOCHS_RETRY_MS)
            self._links.strike(self._links.ready[peer], MAX_STRIKES, now)
        self._ask(now)

    def on_epochs(self, session: Session, message: Epochs, now: Millis) -> None:
        """Take an answer."""
        session.settle(MessageClass.CONSENSUS, _KEY)
        if self._asked is not None and self._asked[0] == session.peer:
            self._asked = None
        if not message.proofs or message.first != self._wanted:  # an answer to another question brings nobody on
            self._fruitless[session.peer] = Millis(now + EPOCHS_RETRY_MS)
            self._ask(now)
            return
        self._wanted = None  # the core says what it wants next, once it has looked at these
        self._links.emit(EpochsArrived(session.peer, message.first, message.proofs))

    def on_get_epochs(self, session: Session, message: GetEpochs, now: Millis) -> None:
        """Answer with the proofs from that epoch on, as many as fit."""
        if not session.has_room(MessageClass.CONSENSUS, MAX_EPOCHS_BYTES):
            return
        size, proofs = 0, list[bytes]()
        for proof in self._chain.epoch_proofs(message.first, MAX_EPOCHS):
            size += len(proof)
            if size > MAX_EPOCHS_BYTES:
                break
            proofs.append(proof)
        self._links.send(session, Epochs(message.first, tuple(proofs)))

    def _on_down(self, session: Session, now: Millis) -> None:
        self._fruitless.pop(session.peer, None)
        if self._asked is not None and self._asked[0] == session.peer:
            self._asked = None
