"""Telling peers of nodes' addresses, and learning from them.

We ask only peers that we dialled (one that dialled us could feed us), one of them every ``ADDRESSES_MS``, and each
when it connects. A peer may tell of addresses that reach as far as its own: a stranger on the Internet can't make us
dial into our own network.
"""

from random import Random

from chain.ids import ZERO_HASH, Millis
from p2p.addressbook import AddressBook
from p2p.endpoints import Endpoint, from_wire, reach_of, to_wire
from p2p.limits import ADDRESSES_MS, MAX_ADDRESSES, MessageClass
from p2p.links import Links
from p2p.messages import Addresses, GetAddresses
from p2p.session import Session


class AddressExchange:
    """Questions and answers about addresses."""

    def __init__(self, links: Links, book: AddressBook, random: Random) -> None:
        self._links = links
        self._book = book
        self._random = random
        self._next_at = Millis(0)
        links.on_up.append(self._on_up)

    def tick(self, now: Millis) -> None:
        """Ask somebody from time to time."""
        if now < self._next_at:
            return
        self._next_at = Millis(now + ADDRESSES_MS)
        dialled = [session for session in self._links.ready.values() if session.outbound]
        if dialled:
            self._ask(self._random.choice(dialled), now)

    def on_get_addresses(self, session: Session, message: GetAddresses, now: Millis) -> None:
        """Answer with a random sample."""
        reach = reach_of(session.endpoint.host)
        itself = Endpoint(session.endpoint.host, session.established.status.listen_port)
        sample = [endpoint for endpoint in self._book.sample(MAX_ADDRESSES) if endpoint != itself]
        told = [to_wire(endpoint) for endpoint in sample if reach_of(endpoint.host) >= reach]
        self._links.send(session, Addresses(tuple([address for address in told if address is not None])))

    def on_addresses(self, session: Session, message: Addresses, now: Millis) -> None:
        """Note what the peer told."""
        session.settle(MessageClass.ADDRESSES, ZERO_HASH)
        for address in message.addresses:
            endpoint = from_wire(address)
            if endpoint is not None and reach_of(endpoint.host) >= reach_of(session.endpoint.host):
                self._book.add(endpoint, session.endpoint.host, now)

    def _on_up(self, session: Session, now: Millis) -> None:
        if session.outbound:
            self._ask(session, now)

    def _ask(self, session: Session, now: Millis) -> None:
        if not session.owed[MessageClass.ADDRESSES] and self._links.send(session, GetAddresses()):
            session.owes(MessageClass.ADDRESSES, ZERO_HASH, now)
