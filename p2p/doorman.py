"""The door: connections come in, shake hands, and become peers or are sent away.

A peer has one connection. If both sides dialled at once, both keep the connection that the node with the smaller
account dialled; a second connection in the same direction replaces the first, because only the peer itself can have
opened it and it would not have if it still held the first.

Callers that have not proven themselves have places of their own: whoever dawdles is sent away for the next one, the
oldest of the network that has the most, and holds nobody's place who is a peer. A caller that has proven itself when
there are ``max_inbound`` already takes the place of the one that ``eviction`` names, or goes.
"""

from random import Random

from chain.ids import Millis
from chain.keys import KeyPair
from p2p.access import ChainAccess, NetworkConfig
from p2p.addressbook import AddressBook
from p2p.bans import Bans, Subject, settle_subject
from p2p.budget import Debts
from p2p.dialer import Dialer, Purpose
from p2p.endpoints import Endpoint, Reach, group_of, parse_endpoint, parse_target, reach_of, site_of
from p2p.errors import EndpointError, HandshakeError, SelfConnectionError
from p2p.events import Close, Connected, Dial, PeerId
from p2p.eviction import Standing, choose_victim
from p2p.handshake import ClientHandshake, Established, ServerHandshake, Terms
from p2p.limits import (
    ANCHORS,
    BAN_POINTS,
    HANDSHAKE_MS,
    HANDSHAKE_POINTS,
    LASTING_MS,
    MAX_HALF_OPEN,
    STALL_POINTS,
)
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
        saved = config.remembered
        self._unread_bans = () if saved is None else saved.bans
        self.dialer = Dialer(
            book,
            random,
            [parse_target(text) for text in config.connect],
            config.outbound,
            [] if saved is None else [parse_endpoint(text) for text in saved.anchors],
            [parse_target(text) for text in config.seeds],
        )
        self._debts = Debts()
        self._last_anchors: tuple[str, ...] = ()
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
        self.dialer.connected(endpoint)
        try:
            handshake = ClientHandshake(
                self._identity, self._terms, event.server_certificate, self._random.randbytes(32), self._status()
            )
        except HandshakeError as error:
            if isinstance(error, SelfConnectionError):
                self.dialer.is_ours(endpoint)
            self.dialer.closed(endpoint, now, was_of_use=False)
            self._links.emit(Close(event.connection, str(error)))
            return
        session = self._make_session(event.connection, endpoint, handshake, now)
        self._links.open(session)
        pinned = self.dialer.pin_of(endpoint)
        if pinned in (None, handshake.server):
            self.dialer.meets(endpoint, handshake.server)
        if pinned is not None and pinned != handshake.server:
            there, wanted = handshake.server.hex()[:16], pinned.hex()[:16]
            self._links.close(session, f"another node is there: its key is {there}, pinned is {wanted}", now)
        elif self.dialer.purpose_of(endpoint) is Purpose.FEELER and handshake.server in self._links.ready:
            self._links.close(session, "connected to the same peer already", now)

    def _make_session(
        self, connection: int, endpoint: Endpoint, handshake: ClientHandshake | ServerHandshake, now: Millis
    ) -> Session:
        debts = self._debts.take(endpoint.host, now)
        return Session(connection, endpoint, handshake, now, debts, self._config.max_body_bytes)

    def _welcome(self, event: Connected, endpoint: Endpoint, now: Millis) -> None:
        nonce = self._random.randbytes(32)
        handshake = ServerHandshake(self._identity, self._terms, event.server_certificate, nonce)
        session = self._make_session(event.connection, endpoint, handshake, now)
        callers = [each for each in self._links.sessions.values() if not each.outbound]
        self._links.open(session)
        if self._is_banned(endpoint.host, now):
            self._links.close(session, "banned for a while", now)
        elif not self._config.max_inbound:
            self._links.close(session, "no connections are accepted", now)
        elif self._is_crowded(endpoint.host, [each.endpoint.host for each in callers]):
            self._links.close(session, f"no more than {self._config.max_per_host} connections from one host", now)
        else:
            dawdlers = [each for each in callers if each.stage is not Stage.READY]
            if len(dawdlers) >= MAX_HALF_OPEN:
                self._send_away_one(dawdlers, now)
            self._links.send(session, handshake.challenge)

    def _send_away_one(self, dawdlers: list[Session], now: Millis) -> None:
        """Close the oldest unfinished handshake of the network that has the most of them."""
        groups = [group_of(each.endpoint.host) for each in dawdlers]
        most = max(groups.count(group) for group in groups)
        oldest = next(each for each, group in zip(dawdlers, groups, strict=True) if groups.count(group) == most)
        self._links.close(oldest, "the handshake takes too long, and others wait", now)

    def _is_crowded(self, host: str, callers: list[str]) -> bool:
        sites = [site_of(caller) for caller in callers]
        return reach_of(host) is not Reach.LOOPBACK and sites.count(site_of(host)) >= self._config.max_per_host

    def _status(self) -> Status:
        chain = self._chain
        weight = encode_weight(chain.weight())
        return Status(chain.height(), chain.head(), weight, self._config.listen_port, self._config.agent)

    # ── the handshake ─────────────────────────────────────────────────────────────────────────────────────────────

    def on_challenge(self, session: Session, message: Challenge, now: Millis) -> None:
        """Prove ourselves to a server."""
        assert isinstance(session.handshake, ClientHandshake)
        proof = session.handshake.on_challenge(message)
        if self.dialer.purpose_of(session.endpoint) is Purpose.FEELER:
            # A node of our network is there: its certificate and challenge say so. To go on would cost a caller of
            # its his place, if its door is full.
            self.dialer.worked(session.endpoint, session.handshake.server, now)
            self._links.close(session, "only looked whether somebody is here", now)
            return
        session.stage = Stage.AWAITS_SERVER_PROOF
        self._links.send(session, proof)

    def on_server_proof(self, session: Session, message: ServerProof, now: Millis) -> None:
        """Take a server that has proven itself as a peer."""
        assert isinstance(session.handshake, ClientHandshake)
        established = session.handshake.on_server_proof(message)
        if self._admits(session, established, now):
            self.dialer.worked(session.endpoint, established.peer, now)
            self._links.establish(session, established, now)

    def on_client_proof(self, session: Session, message: ClientProof, now: Millis) -> None:
        """Take a client that has proven itself as a peer, and prove ourselves."""
        assert isinstance(session.handshake, ServerHandshake)
        answer, established = session.handshake.on_client_proof(message, self._status())
        if self._admits(session, established, now):
            self._links.send(session, answer)
            port = established.status.listen_port
            if port:
                self._note_listener(Endpoint(session.endpoint.host, port), established.peer, now)
            self._links.establish(session, established, now)

    def _note_listener(self, endpoint: Endpoint, peer: PeerId, now: Millis) -> None:
        """Note where a caller says it listens: to tell others, and so as not to dial it while it is connected."""
        self.dialer.is_said_to_be(endpoint, peer)
        if self._config.exchange_addresses:
            self._book.add(endpoint, endpoint.host, now)

    def _admits(self, session: Session, established: Established, now: Millis) -> bool:
        """May this become the peer's connection? Closes it, or the one it replaces."""
        if self._is_banned(established.peer, now):
            self._links.close(session, "banned for a while", now)
            return False
        before = self._links.ready.get(established.peer)
        if before is None:
            return session.outbound or self._has_place(session, now)
        is_better = session.outbound == (self._identity.account < established.peer)
        if before.outbound == session.outbound or is_better:
            self._links.close(before, "replaced by another connection of the same peer", now)
            return True
        self._links.close(session, "connected to the same peer already", now)
        return False

    def _has_place(self, session: Session, now: Millis) -> bool:
        """Is there a place for one more caller, maybe that of another? Closes who has to go."""
        callers = [each for each in self._links.ready.values() if not each.outbound]
        if len(callers) < self._config.max_inbound:
            return True
        group = group_of(session.endpoint.host)
        standings = [_standing(each) for each in callers]
        victim = choose_victim(standings, group, self._config.max_inbound, self._book.secret)
        if victim is None:
            self._links.close(session, f"no more than {self._config.max_inbound} connections are accepted", now)
            return False
        self._links.close(self._links.sessions[victim], "another caller takes the place", now)
        return True

    # ── going out ─────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Millis) -> None:
        """Dial whom it is time to dial."""

        def refuses(endpoint: Endpoint, peer: PeerId | None) -> bool:
            if peer is not None and (peer in self._links.ready or self._is_banned(peer, now)):
                return True
            return self._is_banned(endpoint.host, now)

        for endpoint in self.dialer.next_dials(refuses, now):
            self._links.emit(Dial(str(endpoint)))

    def dial(self, address: str, now: Millis) -> None:
        """Dial an endpoint now and keep connected to it."""
        self.dialer.keep(parse_target(address))
        self.tick(now)

    def on_dial_failed(self, address: str, now: Millis) -> None:
        """Note that nobody answered."""
        self.dialer.failed(parse_endpoint(address), now)

    def anchors(self) -> tuple[str, ...]:
        """Return the addresses to dial first after a restart: our own choice before the operator's, oldest first."""
        chosen = [session for session in self._links.ready.values() if session.outbound]
        is_kept = {each.connection: self.dialer.purpose_of(each.endpoint) is Purpose.KEPT for each in chosen}
        oldest = sorted(chosen, key=lambda session: (is_kept[session.connection], session.since))[:ANCHORS]
        return tuple([str(session.endpoint) for session in oldest]) or self._last_anchors

    def note_anchors(self) -> None:
        """Remember the anchors before all connections are closed."""
        self._last_anchors = self.anchors()

    # ── misbehaviour ──────────────────────────────────────────────────────────────────────────────────────────────

    def reject(self, session: Session, reason: str, now: Millis, points: int = BAN_POINTS) -> None:
        """Close a connection for what the peer did; it has points for that once we know who it is."""
        if session.stage is Stage.READY:
            self.bans.punish(session.peer, session.endpoint.host, points, reason, now)
        self._links.close(session, reason, now)

    def refuse(self, session: Session, reason: str, now: Millis) -> None:
        """Close a connection that can't become a peer's. Only who came to us has points for it: others we chose."""
        if not session.outbound:
            self.bans.punish(None, session.endpoint.host, HANDSHAKE_POINTS, reason, now)
        self._links.close(session, reason, now)

    def condemn(self, peer: PeerId, reason: str, now: Millis) -> None:
        """Ban an identity for what it sent, connected or not, and its host if it is."""
        self.bans.ban(peer, Millis(now + self._config.ban_ms), reason)
        session = self._links.ready.get(peer)
        if session is not None:
            self.reject(session, reason, now)

    def ban(self, subject: Subject, until: Millis, reason: str, now: Millis) -> None:
        """Ban a subject and close its connections."""
        self.bans.ban(subject, until, reason)
        banned = settle_subject(subject)
        for session in list(self._links.sessions.values()):
            host = site_of(session.endpoint.host)
            if banned == host or (session.stage is Stage.READY and banned == session.peer):
                self._links.close(session, "banned for a while", now)

    def _is_banned(self, subject: Subject, now: Millis) -> bool:
        for saved in self._unread_bans:  # the first question comes with the first time
            self.bans.restore(saved, now)
        self._unread_bans = ()
        return self.bans.has(subject, now)

    def _on_closed(self, session: Session, now: Millis) -> None:
        self._debts.leave(session.endpoint.host, session.budget, now)
        if isinstance(session.handshake, ClientHandshake):
            lasted = session.was_ready and now - session.since >= LASTING_MS
            is_feeler = self.dialer.purpose_of(session.endpoint) is Purpose.FEELER
            is_connected = session.handshake.server in self._links.ready
            self.dialer.closed(session.endpoint, now, was_of_use=lasted or is_connected or is_feeler)
        elif not session.was_ready and now - session.since >= HANDSHAKE_MS:
            self.bans.punish(None, session.endpoint.host, STALL_POINTS, "handshakes that never end", now)


def _standing(session: Session) -> Standing:
    return Standing(
        session.connection,
        group_of(session.endpoint.host),
        session.since,
        session.latency_ms,
        session.body_at,
        session.update_at,
        session.transaction_at,
    )
