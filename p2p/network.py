"""The peer network: one value that takes transport events and the core's wishes, and returns what to do.

Rules of this file: no socket, no clock, no asyncio; everything comes in through ``handle`` and the calls below, with
the time it happens at. It composes the parts; what each part does stands in its own file.
"""

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import TypeVar, assert_never, cast

from msgspec.structs import replace

from chain.block import Body, Header
from chain.ids import Hash, Millis
from chain.keys import KeyPair
from p2p.access import ChainAccess, NetworkConfig
from p2p.addressbook import AddressBook
from p2p.bans import parse_subject
from p2p.doorman import Doorman
from p2p.endpoints import parse_endpoint
from p2p.enginegossip import EngineGossip
from p2p.epochsync import EpochSync
from p2p.errors import HandshakeError, OveruseError, ProtocolError
from p2p.events import (
    Close,
    Closed,
    Connected,
    DialFailed,
    Heard,
    Item,
    Kind,
    NetworkOutput,
    PeerId,
    PeerInfo,
    Received,
    Sent,
    Tick,
    TransportEvent,
    Verdict,
    Want,
)
from p2p.exchange import AddressExchange
from p2p.fetcher import Fetcher
from p2p.gossip import Gossip
from p2p.headersync import HeaderSync
from p2p.limits import MAX_PROPOSED_BODY, OVERUSE_POINTS, PROPOSAL_VERSION
from p2p.links import Links
from p2p.liveness import Liveness
from p2p.messages import (
    Addresses,
    AnnounceTransactions,
    AnnounceUpdates,
    BlockBody,
    Bye,
    Challenge,
    ClientProof,
    EngineMessage,
    Epochs,
    GetAddresses,
    GetBodies,
    GetEpochs,
    GetHeaders,
    GetPart,
    GetPayload,
    GetPayloads,
    GetServed,
    GetTransactions,
    GetUpdates,
    Head,
    Headers,
    Message,
    NoChunk,
    NoPart,
    NotFound,
    Part,
    PayloadChunk,
    Payloads,
    Ping,
    Pong,
    Quiet,
    Served,
    ServerProof,
    SmallBody,
    Transactions,
    Updates,
)
from p2p.quiet import QuietTalk
from p2p.rotation import Rotation
from p2p.saved import SavedBan, SavedPeers
from p2p.serving import Server
from p2p.session import Session
from p2p.smallbodies import make_small_body
from p2p.snapshots import SnapshotExchange

_M = TypeVar("_M", bound=Message)
_Handler = Callable[[Session, Message, Millis], None]


class PeerNetwork:
    """All peers of one node. Deterministic for the events, the chain's answers and the random numbers it is given.

    ``random`` must be seeded from the operating system outside of a simulation. Every method returns what to do, in
    order; ``now`` never goes back. ``EndpointError`` if the configuration names no proper addresses.
    """

    def __init__(self, config: NetworkConfig, identity: KeyPair, chain: ChainAccess, random: Random) -> None:
        self._links = Links()
        self._now = Millis(0)
        saved = config.remembered
        self._book = AddressBook(random, b"" if saved is None else saved.secret)
        for address in () if saved is None else saved.addresses:
            self._book.restore(address)
        for text in config.known:
            endpoint = parse_endpoint(text)
            self._book.add(endpoint, endpoint.host, Millis(0))
        self._doorman = Doorman(self._links, config, identity, chain, random, self._book)
        self._liveness = Liveness(self._links, random)
        self._fetcher = Fetcher(self._links, random, self._doorman.condemn)
        self._gossip = Gossip(self._links, chain, self._fetcher.offer)
        self._server = Server(self._links, chain)
        self._rotation = Rotation(self._links, chain, self._doorman.dialer, config.outbound, config.stale_ms)
        self._headers = HeaderSync(self._links, chain, random)
        self._engine = EngineGossip(self._links)
        self._quiet = QuietTalk(self._links, self._gossip.release_head)
        self._epochs = EpochSync(self._links, chain, random)
        self._exchange = AddressExchange(self._links, self._book, random) if config.exchange_addresses else None
        self._snapshots = SnapshotExchange(self._links, chain)
        self._handlers: dict[type[object], _Handler] = {}
        self._route()

    def _route(self) -> None:
        """Say who handles which message."""
        self._on(Challenge, self._doorman.on_challenge)
        self._on(ClientProof, self._doorman.on_client_proof)
        self._on(ServerProof, self._doorman.on_server_proof)
        self._on(Ping, self._liveness.on_ping)
        self._on(Pong, self._liveness.on_pong)
        self._on(Bye, self._on_bye)
        self._on(Head, self._headers.on_head)
        self._on(Headers, self._headers.on_headers)
        self._on(EngineMessage, self._engine.on_message)
        self._on(Quiet, self._quiet.on_quiet)
        self._on(GetEpochs, self._epochs.on_get_epochs)
        self._on(Epochs, self._epochs.on_epochs)
        self._on(AnnounceTransactions, self._gossip.on_transactions)
        self._on(AnnounceUpdates, self._gossip.on_updates)
        self._on(BlockBody, self._fetcher.on_body)
        self._on(SmallBody, self._fetcher.on_small_body)
        self._on(Transactions, self._fetcher.on_transactions)
        self._on(Updates, self._fetcher.on_updates)
        self._on(PayloadChunk, self._fetcher.on_chunk)
        self._on(Payloads, self._fetcher.on_payloads)
        self._on(NoChunk, self._fetcher.on_no_chunk)
        self._on(NotFound, self._fetcher.on_not_found)
        self._on(GetHeaders, self._server.on_get_headers)
        self._on(GetBodies, self._server.on_get_bodies)
        self._on(GetTransactions, self._server.on_get_transactions)
        self._on(GetUpdates, self._server.on_get_updates)
        self._on(GetPayload, self._server.on_get_payload)
        self._on(GetPayloads, self._server.on_get_payloads)
        self._on(GetServed, self._snapshots.on_get_served)
        self._on(Served, self._snapshots.on_served)
        self._on(GetPart, self._snapshots.on_get_part)
        self._on(Part, self._snapshots.on_part)
        self._on(NoPart, self._snapshots.on_no_part)
        if self._exchange is not None:
            self._on(GetAddresses, self._exchange.on_get_addresses)
            self._on(Addresses, self._exchange.on_addresses)
        else:
            self._on(GetAddresses, self._decline_addresses)

    def _on(self, kind: type[_M], handler: Callable[[Session, _M, Millis], None]) -> None:
        self._handlers[kind] = cast(_Handler, handler)  # it is called with messages of its kind alone

    # ── the transport ─────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, event: TransportEvent, now: Millis) -> list[NetworkOutput]:
        """Take what the transport reports. What concerns a connection that is closed already is left out."""
        match event:
            case Received():  # as most
                self._receive(event, now)
            case Connected():
                self._doorman.on_connected(event, now)
            case Sent():
                session = self._links.sessions.get(event.connection)
                if session is not None:
                    self._links.sent(session, event.size, now)
            case Closed():
                session = self._links.sessions.get(event.connection)
                if session is not None:
                    self._links.gone(session, event.reason, now)
            case DialFailed():
                self._doorman.on_dial_failed(event.address, now)
            case Heard(address):
                endpoint = parse_endpoint(address)
                self._book.add(endpoint, endpoint.host, now)
            case Tick():
                self._tick(now)
            case _:
                assert_never(event)
        return self._outputs(now)

    def _receive(self, event: Received, now: Millis) -> None:
        session = self._links.sessions.get(event.connection)
        if session is None:
            return
        try:
            handlers = self._handlers
            for message in session.messages(event.data, now):
                handler = handlers.get(type(message))
                if handler is None:
                    raise ProtocolError(f"a {type(message).__name__} that nobody asked for")
                handler(session, message, now)
        except HandshakeError as error:
            self._doorman.refuse(session, str(error), now)
        except OveruseError as error:
            self._doorman.reject(session, str(error), now, OVERUSE_POINTS)
        except ProtocolError as error:
            self._doorman.reject(session, str(error), now)

    def _tick(self, now: Millis) -> None:
        self._liveness.tick(now)
        self._fetcher.tick(now)
        self._headers.tick(now)
        self._snapshots.tick(now)
        self._epochs.tick(now)
        self._gossip.tick(now)
        if self._exchange is not None:
            self._exchange.tick(now)
        self._rotation.tick(now)
        self._doorman.tick(now)

    def _on_bye(self, session: Session, message: Bye, now: Millis) -> None:
        reason = f"the peer closed: {message.reason}"
        self._links.emit(Close(session.connection, reason))
        self._links.gone(session, reason, now)

    def _decline_addresses(self, session: Session, message: GetAddresses, now: Millis) -> None:
        self._links.send(session, Addresses(()))

    def _outputs(self, now: Millis) -> list[NetworkOutput]:
        self._now = now
        self._fetcher.schedule(now)
        return self._links.take_outputs(now)

    # ── the core ──────────────────────────────────────────────────────────────────────────────────────────────────

    def announce_block(
        self, header: Header, now: Millis, patience_ms: int = 0, body: Body | None = None
    ) -> list[NetworkOutput]:
        """Tell peers our new head, which ``ChainAccess`` must already call the head. The header travels in full.

        Its ``body`` goes with it if it is small.
        With ``patience_ms`` it waits so long for ``tell_engine`` to bring it, or for peers to show that they have it.
        """
        self._gossip.announce_block(header, now, patience_ms, body)
        return self._outputs(now)

    def has_block(self, peer: PeerId, header: Header, weight: int, now: Millis) -> None:
        """Take note that a peer has a block, with a chain of this weight: something it said shows it."""
        session = self._links.ready.get(peer)
        if session is not None:
            session.note_head(header, weight, now)

    def announce_transaction(self, id: Hash, now: Millis) -> list[NetworkOutput]:
        """Tell peers that we have a transaction (with the next tick, gathered)."""
        self._gossip.announce_transaction(id)
        return self._outputs(now)

    def forget_told(self, kind: Kind, id: Hash) -> None:
        """Let this be announced to everybody anew, whoever was told of it: somebody may have had no room."""
        self._gossip.forget_told(kind, id)

    def announce_updates(self, ids: Sequence[Hash], now: Millis) -> list[NetworkOutput]:
        """Tell peers that we have these updates, or more attestations of them."""
        self._gossip.announce_updates(ids, now)
        return self._outputs(now)

    def introduce(
        self, peer: PeerId, transactions: Sequence[Hash], updates: Sequence[Hash], now: Millis
    ) -> list[NetworkOutput]:
        """Tell a peer that came up what is in our pools: it may have been away when that was announced."""
        session = self._links.ready.get(peer)
        if session is not None:
            self._gossip.introduce(session, transactions, updates, now)
        return self._outputs(now)

    def verdict(
        self,
        peer: PeerId,
        verdict: Verdict,
        reason: str,
        now: Millis,
        item: Item | None = None,
        *,
        may_come_again: bool = False,
    ) -> list[NetworkOutput]:
        """Take the core's verdict on what ``peer`` sent. ACCEPT of a transaction or update announces it.

        ``may_come_again``: there was no room for what is ignored; it is fetched when it is announced again.
        """
        is_rejected = verdict is Verdict.REJECT
        if is_rejected:
            self._doorman.condemn(peer, reason, now)
        elif verdict is Verdict.ACCEPT and item is not None and peer in self._links.ready:
            self._links.ready[peer].note_use(item.kind, now)
        if item is not None:
            wire_id = self._fetcher.judged(peer, item, is_rejected=is_rejected, now=now)
            if verdict is Verdict.IGNORE and wire_id is not None and not may_come_again:
                self._gossip.ignore(item.kind, wire_id, now)
            elif verdict is Verdict.ACCEPT and item.kind is Kind.TRANSACTION:
                self._gossip.announce_transaction(item.id)
            elif verdict is Verdict.ACCEPT and item.kind is Kind.UPDATE:
                self._gossip.announce_updates((item.id,), now)
        return self._outputs(now)

    def were_awaited(self, peer: PeerId, updates: int) -> None:
        """Take note that so many updates that ``peer`` brought were found good: open tasks asked for them.

        So what hearing them costs is not the peer's to answer for, however many devices it speaks for.
        """
        session = self._links.ready.get(peer)
        if session is not None:
            session.budget.forgive_updates(updates, self._now)

    def want(self, items: Sequence[Want], now: Millis) -> list[NetworkOutput]:
        """Fetch bodies and payloads until they arrive. What is being fetched already gains sources."""
        self._fetcher.want(items, now)
        return self._outputs(now)

    def unwant(self, ids: Collection[Hash], now: Millis) -> list[NetworkOutput]:
        """Stop fetching the bodies and payloads that have these ids."""
        self._fetcher.unwant(ids)
        return self._outputs(now)

    def ask_served(self, now: Millis) -> list[NetworkOutput]:
        """Ask all peers which states they serve (``PeerServes``)."""
        self._snapshots.ask_served(now)
        return self._outputs(now)

    def ask_part(self, peer: PeerId, block: Hash, question: bytes, now: Millis) -> list[NetworkOutput] | None:
        """Ask a peer for a part of the state after ``block`` (``PartArrived``); None if it can't be asked now."""
        is_asked = self._snapshots.ask(peer, block, question, now)
        return self._outputs(now) if is_asked else None

    def sync(self, now: Millis) -> list[NetworkOutput]:
        """Ask a peer that claims more weight than our best header for what follows it."""
        self._headers.sync(now)
        return self._outputs(now)

    def tell_engine(
        self,
        data: bytes,
        key: Hash,
        to: Collection[PeerId] | None,
        now: Millis,
        *,
        passing: bool = False,
        again: bool = False,
        brings_head: bool = False,
        sparing: bool = False,
    ) -> list[NetworkOutput]:
        """Send a message of the consensus engine to these peers (None: to all) at once.

        Those that are known to have one with this ``key`` are left out unless ``again``; ``passing`` asks them to pass
        it on. ``brings_head``: an announced head that waits goes out to these peers with it. ``sparing``: not to those
        that asked for quiet.
        """
        told = self._engine.tell(data, key, to, now, passing=passing, again=again, sparing=sparing)
        if brings_head:
            self._gossip.release_head(told, now)
        return self._outputs(now)

    def bring_body(self, id: Hash, body: Body, to: Collection[PeerId], now: Millis) -> list[NetworkOutput]:
        """Send the body of a block that is about to be proposed to these peers, if it is small and they take it so."""
        message = make_small_body(id, body, MAX_PROPOSED_BODY)
        for peer in to if message is not None else ():
            session = self._links.ready.get(peer)
            if message is not None and session is not None and session.established.version >= PROPOSAL_VERSION:
                self._links.send(session, message)
        return self._outputs(now)

    def has_engine_message(self, peer: PeerId, key: Hash, now: Millis, *, sent: bool = False) -> None:
        """Note that a peer has an engine message with this key: it ``sent`` one, or something else shows it."""
        self._engine.has(peer, key, now, sent=sent)

    def ask_quiet(self, peer: PeerId, now: Millis, *, quiet: bool) -> list[NetworkOutput]:
        """Ask a peer to keep quiet about new blocks, or to tell of them again; one that can't be asked goes on."""
        self._quiet.ask(peer, quiet=quiet)
        return self._outputs(now)

    def is_chosen(self, peer: PeerId) -> bool:
        """Was this peer, if it is connected, dialled by us?"""
        session = self._links.ready.get(peer)
        return session is not None and session.outbound

    def want_epochs(self, first: int | None, now: Millis) -> list[NetworkOutput]:
        """Fetch the proofs of how the epochs from ``first`` on ended; None: no more are wanted."""
        self._epochs.want(first, now)
        return self._outputs(now)

    def connected(self) -> tuple[PeerId, ...]:
        """Return who is connected."""
        return tuple(self._links.ready)

    def is_connected(self, peer: PeerId) -> bool:
        """Is this peer connected, its handshake done?"""
        return peer in self._links.ready

    def awaits_tick(self) -> bool:
        """Does something wait to be announced, to be asked for, or for an answer; or are peers missing?"""
        if self._gossip.is_waiting or self._fetcher.is_fetching or len(self._links.sessions) > len(self._links.ready):
            return True
        is_asking = self._headers.is_asking or self._epochs.is_wanting or self._snapshots.is_asking
        return is_asking or self._doorman.dialer.is_searching

    def is_asking(self) -> bool:
        """Is a peer being asked now for headers, or for the proofs that must come before them?"""
        return self._headers.is_asking or self._epochs.is_asking

    def dial(self, address: str, now: Millis) -> list[NetworkOutput]:
        """Connect to ``[KEY@]host:port`` now and stay connected. ``EndpointError`` if the text is no address."""
        self._doorman.dial(address, now)
        return self._outputs(now)

    def disconnect(self, peer: PeerId, reason: str, now: Millis) -> list[NetworkOutput]:
        """Close the connection to a peer, telling it why. No ban."""
        session = self._links.ready.get(peer)
        if session is not None:
            self._links.close(session, reason, now)
        return self._outputs(now)

    def ban(self, subject: str, until: Millis, reason: str, now: Millis) -> list[NetworkOutput]:
        """Ban an identity (64 hexadecimal digits) or a host, and part with it. ``EndpointError`` if it is neither."""
        self._doorman.ban(parse_subject(subject), until, reason, now)
        return self._outputs(now)

    def unban(self, subject: str) -> bool:
        """Let an identity or a host back in; was it banned? ``EndpointError`` if it is neither."""
        return self._doorman.bans.unban(parse_subject(subject))

    def close(self, reason: str, now: Millis) -> list[NetworkOutput]:
        """Close every connection, telling the peers why: the node goes."""
        self._doorman.note_anchors()
        for session in list(self._links.sessions.values()):
            self._links.close(session, reason, now)
        return self._outputs(now)

    # ── for people ────────────────────────────────────────────────────────────────────────────────────────────────

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return every peer that is connected, in order of connection."""
        bans, now = self._doorman.bans, self._now
        return tuple([replace(each.info(), points=bans.points(each.peer, now)) for each in self._links.ready.values()])

    def bans(self, now: Millis) -> tuple[SavedBan, ...]:
        """Return who is not spoken to, and why."""
        return self._doorman.bans.listed(now)

    def remember(self, now: Millis) -> SavedPeers:
        """Return what the next run should know (``NetworkConfig.remembered``)."""
        anchors = self._doorman.anchors()
        return SavedPeers(self._book.secret, self._book.save(), anchors, self._doorman.bans.listed(now))

    def anchors(self) -> tuple[str, ...]:
        """Return the addresses that the next run dials first."""
        return self._doorman.anchors()

    def address_figures(self) -> tuple[int, int]:
        """Return how many addresses worked, and how many were only heard of."""
        tried = self._book.tried
        return tried, len(self._book) - tried

    def known_addresses(self) -> tuple[str, ...]:
        """Return the addresses worth remembering for the next run, those that worked first."""
        return tuple([str(endpoint) for endpoint in self._book.remembered()])

    def buffered_bytes(self) -> int:
        """Return the bytes held for all connections: half-received messages and queued ones."""
        return sum(session.buffered_bytes for session in self._links.sessions.values())
