"""Headers first: asking peers that claim more weight than our best header for what follows it.

One question is under way at a time; when the peer asked falls silent, another one is asked. A peer whose answer ends,
or brings nothing new, has its claim set aside for a while or until it announces another head: a false claim costs one
question. Until a peer's headers are proven to be worth storing they are on trial: peers take turns meanwhile.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

from chain.block import Header, block_id
from chain.ids import ZERO_HASH, Hash, Millis
from p2p.access import ChainAccess, HeaderTrial
from p2p.errors import ProtocolError
from p2p.events import HeadersArrived, PeerId
from p2p.limits import CLAIM_RETRY_MS, HEADERS_ANSWER_MS, MAX_STRIKES, MessageClass
from p2p.links import Links
from p2p.messages import GetHeaders, Head, Headers, decode_weight
from p2p.session import Session

_KEY: Final = ZERO_HASH
"""What the answer to a question for headers is owed under."""


@dataclass(frozen=True, slots=True)
class _Question:
    peer: PeerId
    locator: tuple[Hash, ...]
    deadline: Millis


class HeaderSync:
    """Where this node's headers come from."""

    def __init__(self, links: Links, chain: ChainAccess, random: Random) -> None:
        self._links = links
        self._chain = chain
        self._random = random
        self._question: _Question | None = None
        self._locators: dict[PeerId, tuple[Hash, ...]] = {}  # what a peer was last asked with
        self._trials: dict[PeerId, HeaderTrial] = {}
        self._set_aside: dict[PeerId, Millis] = {}  # claims not to follow before that time
        links.on_up.append(self._on_up)
        links.on_down.append(self._on_down)

    @property
    def is_asking(self) -> bool:
        """Is the answer to a question awaited?"""
        return self._question is not None

    def sync(self, now: Millis) -> None:
        """Ask one better peer, unless one is being asked."""
        if self._question is not None:
            return
        better = self._better_peers(now)
        if not better:
            return
        session = self._random.choice([each for each in better if not each.is_silent(now)] or better)
        trial = self._trials.get(session.peer)
        locator = (() if trial is None else trial.locator()) or self._chain.locator()
        if self._locators.get(session.peer) == locator:
            self._put_aside(session.peer, now)  # its last answer changed nothing
            return
        if self._links.send(session, GetHeaders(locator)):
            session.owes(MessageClass.CONSENSUS, _KEY, now)
            self._locators[session.peer] = locator
            self._question = _Question(session.peer, locator, Millis(now + HEADERS_ANSWER_MS))

    def _better_peers(self, now: Millis) -> list[Session]:
        """Return the peers that claim more than we have and can be asked now.

        Also those that claim more than our head with a block that is unknown here: the best headers may be a chain that
        is withheld, and must not hide those of everybody else.
        """
        head = self._chain.weight()
        ahead = [(peer, session) for peer, session in self._links.ready.items() if session.weight > head]
        if not ahead:
            return []
        ours = self._chain.header_weight()
        return [
            session
            for peer, session in ahead
            if (session.weight > ours or not self._chain.has_header(session.head))
            and self._set_aside.get(peer, now) <= now
            and (_KEY, 0) not in session.owed[MessageClass.CONSENSUS]
        ]

    def _has_lively_peer(self, now: Millis) -> bool:
        return any(not session.is_silent(now) for session in self._better_peers(now))

    def tick(self, now: Millis) -> None:
        """Give up on an answer that is late, or that another peer may give sooner, and ask on."""
        question = self._question
        if question is not None and self._links.ready[question.peer].is_silent(now) and self._has_lively_peer(now):
            self._question = question = None
        if question is not None and now >= question.deadline:
            self._question = None
            self._put_aside(question.peer, now)
            self._links.strike(self._links.ready[question.peer], MAX_STRIKES, now)
        self.sync(now)

    def on_head(self, session: Session, message: Head, now: Millis) -> None:
        """Take a peer's new head: what it claims, and the header for the core."""
        header = message.header
        self._check_chain(header)
        session.head = block_id(header)
        session.height = header.height
        session.weight = decode_weight(message.weight)
        session.known.add((None, session.head), now)
        self._set_aside.pop(session.peer, None)
        self._locators.pop(session.peer, None)
        if self._chain.has_header(session.head):
            self._links.emit(HeadersArrived(session.peer, (header,)))
            return
        step = self._chain.trial().take((header,), False, now)
        if step.fault:
            raise ProtocolError(step.fault)
        if step.release:
            self._links.emit(HeadersArrived(session.peer, step.release))

    def on_headers(self, session: Session, message: Headers, now: Millis) -> None:
        """Take an answer. Headers that do not follow our locator condemn the peer."""
        session.settle(MessageClass.CONSENSUS, _KEY)
        locator = self._locators.get(session.peer)  # of a question that was given up when the peer fell silent
        if self._question is not None and self._question.peer == session.peer:
            locator, self._question = self._question.locator, None
        if not message.headers or locator is None:
            self._trials.pop(session.peer, None)
            self._put_aside(session.peer, now)
            return
        self._check_linked(message.headers, locator)
        self._try(session, message, now)

    def _try(self, session: Session, message: Headers, now: Millis) -> None:
        """Hand on what is worth storing; go on with a trial that is not over."""
        trial = self._trials.pop(session.peer, None) or self._chain.trial()
        step = trial.take(message.headers, message.more, now)
        if step.fault:
            raise ProtocolError(step.fault)
        if step.goes_on:
            self._trials[session.peer] = trial
        elif not message.more or not step.release:
            self._put_aside(session.peer, now)
        if step.release:
            self._links.emit(HeadersArrived(session.peer, step.release))
        else:
            self.sync(now)

    def _put_aside(self, peer: PeerId, now: Millis) -> None:
        self._locators.pop(peer, None)
        self._trials.pop(peer, None)
        self._set_aside[peer] = Millis(now + CLAIM_RETRY_MS)

    def _check_chain(self, header: Header) -> None:
        if header.chain_id != self._chain.chain_id:
            raise ProtocolError("a header of another chain")

    def _check_linked(self, headers: tuple[Header, ...], locator: tuple[Hash, ...]) -> None:
        """Check that the answer starts where the question ended.

        Not that each header is the parent of the next: stale ones that the main chain refers to stand between them, and
        only the engine knows which belong there.
        """
        for header in headers:
            self._check_chain(header)
        if not any(header.parent in locator for header in headers):
            raise ProtocolError("headers that do not follow what was asked for")

    def _on_up(self, session: Session, now: Millis) -> None:
        self.sync(now)

    def _on_down(self, session: Session, now: Millis) -> None:
        self._locators.pop(session.peer, None)
        self._trials.pop(session.peer, None)
        self._set_aside.pop(session.peer, None)
        if self._question is not None and self._question.peer == session.peer:
            self._question = None
