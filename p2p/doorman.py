"""The door: connections come in, shake hands, and become peers or are sent away.

A peer has one connection. If both sides dialled at once, both keep the connection that the node with the smaller
account dialled; a second connection in the same direction replaces the first, because only the peer itself can have
opened it and it would not have if it still held the first.
"""

from random import Random

from chain.ids import Millis
from chain.keys import KeyPair
from p2p.access import ChainAccess, NetworkConfig
from p2p.addressbook import AddressBook
from p2p.bans import Bans
from p2p.dialer import Dialer
from p2p.endpoints import Endpoint, Reach, parse_endpoint, reach_of
from p2p.errors import EndpointError, HandshakeError, SelfConnectionError
from p2p.events import Close, Connected, Dial, PeerId
from p2p.handshake import ClientHandshake, Established, ServerHandshake, Terms
from p2p.limits import LASTING_MS
from p2p.links import Links
from p2p.messages import Challenge, ClientProof, ServerProof, Status, encode_weight
from p2p.session import Session, Stage


class Doorman:
    """Lets connections in and keeps the ones dialled in number."""

    def __init__(
        self,
        links: Links,
        config: NetworkConfig,
        identity: KeyPair,
        chain: ChainAccess,
        random: Random,
        book: AddressBook,
    ) -> None:
        self.bans = Bans(config.ban_ms)
        self._links = links
        self._config = config
        self._identity = identity
        self._chain = chain
        self._random = random
        self._book = book
        kept = [parse_endpoint(text) for text in config.connect]
        self._dialer = Dialer(book, random, kept, config.outbound)
        self._terms = Terms(chain.chain_id, chain.genesis_id)
        links.on_closed.append(self._on_closed)

    # ── coming in ─────────────────────────────────────────────────────────────────────────────────────────────────

    def on_connected(self, event: Connected, now: Millis) -> None:
        """Start the handshake on a new connection."""
        try:
            endpoint = parse_endpoint(event.address)
        except EndpointError as error:  # a caller that was gone before its address could be read
            self._links.emit(Close(event.connection, str(error)))
            return
        if not event.outbound:
            self._welcome(event, endpoint, now)
            return
        self._dialer.connected(endpoint)
        try:
            handshake = ClientHandshake(
                self._identity, self._terms, event.server_certificate, self._random.randbytes(32), self._status()
            )
        except HandshakeError as error:
            if isinstance(error, SelfConnectionError):
                self._dialer.is_ours(endpoint)
            self._dialer.closed(endpoint, now, was_of_use=False)
            self._links.emit(Close(event.connection, str(error)))
            return
        self._dialer.meets(endpoint, handshake.server)
        self._links.open(Session(event.connection, endpoint, handshake, now))

    def _welcome(self, event: Connected, endpoint: Endpoint, now: Millis) -> None:
        nonce = self._random.randbytes(32)
        handshake = ServerHandshake(self._identity, self._terms, event.server_certificate, nonce)
        session = Session(event.connection, endpoint, handshake, now)
        callers = [each.endpoint.host for each in self._links.sessions.values() if not each.outbound]
        self._links.open(session)
        if self.bans.has_host(endpoint.host, now):
            self._links.close(session, "banned for a while", now)
        elif len(callers) >= self._config.max_inbound:
            self._links.close(session, f"no more than {self._config.max_inbound} connections are accepted", now)
        elif self._is_crowded(endpoint.host, callers):
            self._links.close(session, f"no more than {self._config.max_per_host} connections from one host", now)
        else:
            self._links.send(session, handshake.challenge)

    def _is_crowded(self, host: str, callers: list[str]) -> bool:
        return reach_of(host) is not Reach.LOOPBACK and callers.count(host) >= self._config.max_per_host

    def _status(self) -> Status:
        chain = self._chain
        weight = encode_weight(chain.weight())
        return Status(chain.height(), chain.head(), weight, self._config.listen_port, self._config.agent)

    # ── the handshake ─────────────────────────────────────────────────────────────────────────────────────────────

    def on_challenge(self, session: Session, message: Challenge, now: Millis) -> None:
        """Prove ourselves to a server."""
        assert isinstance(session.handshake, ClientHandshake)
        proof = session.handshake.on_challenge(message)
        session.stage = Stage.AWAITS_SERVER_PROOF
        self._links.send(session, proof)

    def on_server_proof(self, session: Session, message: ServerProof, now: Millis) -> None:
        """Take a server that has proven itself as a peer."""
        assert isinstance(session.handshake, ClientHandshake)
        established = session.handshake.on_server_proof(message)
        if self._admits(session, established, now):
            self._dialer.worked(session.endpoint, established.peer)
            self._links.establish(session, established, now)

    def on_client_proof(self, session: Session, message: ClientProof, now: Millis) -> None:
        """Take a client that has proven itself as a peer, and prove ourselves."""
        assert isinstance(session.handshake, ServerHandshake)
        answer, established = session.handshake.on_client_proof(message, self._status())
        if self._admits(session, established, now):
            self._links.send(session, answer)
            port = established.status.listen_port
            if port:
                self._note_listener(Endpoint(session.endpoint.host, port), established.peer)
            self._links.establish(session, established, now)

    def _note_listener(self, endpoint: Endpoint, peer: PeerId) -> None:
        """Note where a caller says it listens: to tell others, and so as not to dial it while it is connected."""
        self._dialer.is_said_to_be(endpoint, peer)
        if self._config.exchange_addresses:
            self._book.add(endpoint, endpoint.host)

    def _admits(self, session: Session, established: Established, now: Millis) -> bool:
        """May this become the peer's connection? Closes it, or the one it replaces."""
        if self.bans.has_peer(established.peer, now):
            self._links.close(session, "banned for a while", now)
            return False
        before = self._links.ready.get(established.peer)
        if before is None:
            return True
        is_better = session.outbound == (self._identity.account < established.peer)
        if before.outbound == session.outbound or is_better:
            self._links.close(before, "replaced by another connection of the same peer", now)
            return True
        self._links.close(session, "connected to the same peer already", now)
        return False

    # ── going out ─────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Millis) -> None:
        """Dial whom it is time to dial."""

        def refuses(endpoint: Endpoint, peer: PeerId | None) -> bool:
            if peer is not None and (peer in self._links.ready or self.bans.has_peer(peer, now)):
                return True
            return self.bans.has_host(endpoint.host, now)

        for endpoint in self._dialer.next_dials(refuses, now):
            self._links.emit(Dial(str(endpoint)))

    def dial(self, address: str, now: Millis) -> None:
        """Dial an endpoint now and keep connected to it."""
        self._dialer.keep(parse_endpoint(address))
        self.tick(now)

    def on_dial_failed(self, address: str, now: Millis) -> None:
        """Note that nobody answered."""
        self._dialer.failed(parse_endpoint(address), now)

    def reject(self, session: Session, reason: str, now: Millis) -> None:
        """Close a connection for what the peer did, and ban it once we know who it is."""
        if session.stage is Stage.READY:
            self.bans.ban_peer(session.peer, now)
            self.bans.ban_host(session.endpoint.host, now)
        self._links.close(session, reason, now)

    def _on_closed(self, session: Session, now: Millis) -> None:
        if isinstance(session.handshake, ClientHandshake):
            lasted = session.was_ready and now - session.since >= LASTING_MS
            is_connected = session.handshake.server in self._links.ready
            self._dialer.closed(session.endpoint, now, was_of_use=lasted or is_connected)
