"""A town of nodes: several peer networks, each with a toy core, on a transport in virtual time.

The transport cuts streams at random places, takes random time, and loses connections when told to. The toy core knows
no rules: a header weighs 1, the longest chain of headers with bodies is the main chain.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from chain.block import Body, Header, block_id, has_matching_body
from chain.ids import Hash, Height, Millis
from chain.keys import KeyPair
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from p2p.access import HeaderTrial, NetworkConfig, TrialStep
from p2p.events import (
    BodyArrived,
    Close,
    Closed,
    Connected,
    Dial,
    DialFailed,
    HeadersArrived,
    Item,
    Kind,
    NetworkOutput,
    PayloadArrived,
    PeerDown,
    PeerId,
    PeerUp,
    Received,
    Send,
    Sent,
    Tick,
    TransactionArrived,
    UpdateArrived,
    Verdict,
    Want,
)
from p2p.identity import make_certificate
from p2p.limits import TICK_MS
from p2p.network import PeerNetwork
from tests.p2p.objects import CHAIN, EMPTY, FIRST, GENESIS


class TakeAll:
    """Stores any header."""

    def locator(self) -> tuple[Hash, ...]:
        return ()

    def take(self, headers: tuple[Header, ...], more: bool, now: Millis) -> TrialStep:
        return TrialStep(headers)


class ToyChain:
    """A chain and pools without rules."""

    def __init__(self, chain_id: str = CHAIN, genesis_id: Hash = GENESIS) -> None:
        self.chain_id = chain_id
        self.genesis_id = genesis_id
        first = block_id(FIRST)
        self.first = first
        self.headers: dict[Hash, Header] = {first: FIRST}
        self.bodies: dict[Hash, Body] = {first: EMPTY}
        self.payloads: dict[Hash, bytes] = {}
        self.transactions: dict[Hash, SignedTransaction] = {}
        self.updates: dict[Hash, AttestedUpdate] = {}
        self.epochs: list[bytes] = []
        self.best_header = first
        self.main: list[Hash] = [first]

    def head(self) -> Hash:
        return self.main[-1]

    def height(self) -> Height:
        return Height(len(self.main) - 1)

    def weight(self) -> int:
        return self.height()

    def header_weight(self) -> int:
        return self.headers[self.best_header].height

    def has_header(self, id: Hash) -> bool:
        return id in self.headers

    def path(self, tip: Hash) -> list[Hash]:
        """Return the ids from the first block to ``tip``."""
        ids = [tip]
        while ids[-1] != self.first:
            ids.append(self.headers[ids[-1]].parent)
        return ids[::-1]

    def locator(self) -> tuple[Hash, ...]:
        ids = self.path(self.best_header)
        picked, step, index = [], 1, len(ids) - 1
        while index > 0:
            picked.append(ids[index])
            step = step if len(picked) < 10 else step * 2
            index -= step
        return (*picked, self.first)

    def epoch_proofs(self, first: int, limit: int) -> tuple[bytes, ...]:
        return tuple(self.epochs[first : first + limit])

    def trial(self) -> HeaderTrial:
        return TakeAll()

    def headers_after(self, locator: Sequence[Hash], limit: int) -> tuple[Header, ...]:
        positions = {id: number for number, id in enumerate(self.main)}
        start = next((positions[id] for id in locator if id in positions), len(self.main))
        return tuple([self.headers[id] for id in self.main[start + 1 : start + 1 + limit]])

    def has(self, kind: Kind, id: Hash) -> bool:
        return id in {Kind.TRANSACTION: self.transactions, Kind.UPDATE: self.updates}.get(kind, {})

    def body(self, id: Hash) -> Body | None:
        return self.bodies.get(id)

    def payload(self, id: Hash) -> bytes | None:
        return self.payloads.get(id)

    def transaction(self, id: Hash) -> SignedTransaction | None:
        return self.transactions.get(id)

    def update(self, id: Hash) -> AttestedUpdate | None:
        return self.updates.get(id)

    def update_version(self, id: Hash) -> Hash | None:
        return self.updates[id].version if id in self.updates else None

    def insert(self, header: Header) -> bool:
        """Add a header whose parent is known; False for an orphan."""
        if header.parent not in self.headers:
            return False
        self.headers[block_id(header)] = header
        if header.height > self.headers[self.best_header].height:
            self.best_header = block_id(header)
        return True

    def connect(self) -> bool:
        """Make the best chain of headers main as far as its bodies are here, if it is longer; did it grow?"""
        complete: list[Hash] = []
        for id in self.path(self.best_header):
            if id not in self.bodies:
                break
            complete.append(id)
        if len(complete) <= len(self.main):
            return False
        self.main = complete
        return True

    def mine(self, blocks: Sequence[tuple[Header, Body]]) -> None:
        """Add whole blocks."""
        for header, body in blocks:
            assert self.insert(header)
            self.bodies[block_id(header)] = body
        self.connect()


@dataclass
class Node:
    """One node of the town: its network, its toy core, and a record of what the core was told."""

    key: KeyPair
    host: str
    chain: ToyChain
    network: PeerNetwork
    certificate: bytes
    accepts: bool = True
    ups: list[PeerId] = field(default_factory=list)
    downs: list[tuple[PeerId, str]] = field(default_factory=list)
    closes: list[str] = field(default_factory=list)
    arrivals: list[tuple[Kind, Hash]] = field(default_factory=list)

    def act(self, output: NetworkOutput, now: Millis) -> list[NetworkOutput]:
        """Do what a core does with what the network tells it."""
        match output:
            case PeerUp():
                self.ups.append(output.peer)
                return self.network.introduce(output.peer, list(self.chain.transactions), list(self.chain.updates), now)
            case PeerDown():
                self.downs.append((output.peer, output.reason))
            case HeadersArrived():
                for header in output.headers:
                    self.chain.insert(header)
                return self.network.sync(now) + self._want_bodies(now) + self._advance(now)
            case BodyArrived():
                self.arrivals.append((Kind.BODY, output.id))
                if not has_matching_body(self.chain.headers[output.id], output.body):
                    reason = "body is not its header's"
                    return self.network.verdict(output.peer, Verdict.REJECT, reason, now) + self._want_bodies(now)
                self.chain.bodies[output.id] = output.body
                refs = [update.update.release.payload for update in output.body.updates]
                wants = [Want(Kind.PAYLOAD, ref.id, ref.size) for ref in refs if ref.id not in self.chain.payloads]
                return self.network.want(wants, now) + self._advance(now)
            case PayloadArrived():
                self.arrivals.append((Kind.PAYLOAD, output.ref.id))
                self.chain.payloads[output.ref.id] = output.payload
            case TransactionArrived():
                return self._take_transaction(output.peer, output.transaction, now)
            case UpdateArrived():
                return self._take_update(output.peer, output.update, now)
        return []

    def _want_bodies(self, now: Millis) -> list[NetworkOutput]:
        missing = [id for id in self.chain.path(self.chain.best_header) if id not in self.chain.bodies]
        return self.network.want([Want(Kind.BODY, id) for id in missing], now)

    def _advance(self, now: Millis) -> list[NetworkOutput]:
        if self.chain.connect():
            return self.network.announce_block(self.chain.headers[self.chain.head()], now)
        return []

    def _take_transaction(self, peer: PeerId, signed: SignedTransaction, now: Millis) -> list[NetworkOutput]:
        self.arrivals.append((Kind.TRANSACTION, signed.id))
        item = Item(Kind.TRANSACTION, signed.id)
        if not signed.is_signed():
            return self.network.verdict(peer, Verdict.REJECT, "wrong signature", now, item)
        self.chain.transactions[signed.id] = signed
        return self.network.verdict(peer, Verdict.ACCEPT, "", now, item)

    def _take_update(self, peer: PeerId, update: AttestedUpdate, now: Millis) -> list[NetworkOutput]:
        self.arrivals.append((Kind.UPDATE, update.id))
        item = Item(Kind.UPDATE, update.id)
        before = self.chain.updates.get(update.id)
        merged = {each.miner: each for each in update.attestations}
        if before is not None:
            if set(merged) <= {each.miner for each in before.attestations}:
                return self.network.verdict(peer, Verdict.IGNORE, "nothing new", now, item)
            merged |= {each.miner: each for each in before.attestations}
        attestations = tuple([merged[miner] for miner in sorted(merged)])
        self.chain.updates[update.id] = replace(update, attestations=attestations)
        ref = update.update.release.payload
        wants = [] if ref.id in self.chain.payloads else [Want(Kind.PAYLOAD, ref.id, ref.size, (peer,))]
        return self.network.verdict(peer, Verdict.ACCEPT, "", now, item) + self.network.want(wants, now)


class Town:
    """Nodes on one transport. ``run`` lets virtual time pass."""

    def __init__(self, seed: int, max_latency_ms: int = 20) -> None:
        self.random = Random(seed)
        self.now = Millis(1_000_000)
        self.nodes: dict[str, Node] = {}
        self.max_latency_ms = max_latency_ms
        self.cuts = 0
        self.dials = 0
        self.on_wire: Callable[[Node, bytes], None] = lambda node, data: None
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._connections = 0
        self._ends: dict[int, tuple[Node, int]] = {}  # a connection's other end
        self._clear_at: dict[int, int] = {}  # when the last bytes sent on a connection have arrived

    def add(self, number: int, **options: object) -> Node:
        """Add a node at 10.0.0.``number``; options are the chain and the fields of its configuration."""
        key = KeyPair(bytes([number]) * 32)
        host = f"10.0.0.{number}"
        chain = options.pop("chain", None) or ToyChain()
        assert isinstance(chain, ToyChain)
        config = NetworkConfig(listen_port=7000, **options)  # type: ignore[arg-type]
        network = PeerNetwork(config, key, chain, Random(self.random.getrandbits(64)))
        node = Node(key, host, chain, network, make_certificate(key.seed).der)
        self.nodes[host] = node
        self._later(self.random.randrange(TICK_MS), lambda: self._tick(node))
        return node

    def run(self, milliseconds: int) -> None:
        """Let time pass."""
        until = self.now + milliseconds
        while self._queue and self._queue[0][0] <= until:
            at, _, action = heapq.heappop(self._queue)
            self.now = Millis(max(self.now, at))
            action()
        self.now = Millis(until)

    def cut(self, connection: int) -> None:
        """Lose a connection."""
        end = self._ends.pop(connection, None)
        if end is None:
            return
        node, other = end
        near = self._ends.pop(other)[0]
        self.cuts += 1
        self.perform(node, node.network.handle(Closed(other, "connection reset"), self.now))
        self.perform(near, near.network.handle(Closed(connection, "connection reset"), self.now))

    @property
    def connections(self) -> list[int]:
        """The connections that stand."""
        return list(self._ends)

    def perform(self, node: Node, outputs: Sequence[NetworkOutput]) -> None:
        """Do what a network put out, in order."""
        for output in outputs:
            match output:
                case Send():
                    self._send(node, output)
                case Close():
                    node.closes.append(output.reason)
                    self._close(output.connection)
                case Dial():
                    self._later(self._latency(), lambda address=output.address: self._dial(node, address))  # type: ignore[misc]
                case _:
                    self.perform(node, node.act(output, self.now))

    def _dial(self, node: Node, address: str) -> None:
        self.dials += 1
        target = self.nodes.get(address.rpartition(":")[0])
        if target is None or not target.accepts:
            self.perform(node, node.network.handle(DialFailed(address, "connection refused"), self.now))
            return
        near, far = self._connections + 1, self._connections + 2
        self._connections += 2
        self._ends[near], self._ends[far] = (target, far), (node, near)
        certificate = target.certificate
        self.perform(node, node.network.handle(Connected(near, True, address, certificate), self.now))
        caller = f"{node.host}:{50_000 + near % 10_000}"
        self.perform(target, target.network.handle(Connected(far, False, caller, certificate), self.now))

    def _send(self, node: Node, output: Send) -> None:
        end = self._ends.get(output.connection)
        if end is None:
            return
        self.on_wire(node, output.data)
        target, connection = end
        rest, at = output.data, max(self.now + self._latency(), self._clear_at.get(output.connection, 0))
        while rest:
            size = self.random.choice((1, 7, 1000, 65_536, len(rest)))
            part, rest = rest[:size], rest[size:]
            if len(output.data) > 100_000:
                part, rest = part + rest[:65_536], rest[65_536:]
            self._at(at, lambda part=part: self._arrive(target, connection, part))  # type: ignore[misc]
            self._at(at, lambda part=part: self._sent(node, output.connection, len(part)))  # type: ignore[misc]
        self._clear_at[output.connection] = at

    def _arrive(self, node: Node, connection: int, data: bytes) -> None:
        if connection in self._ends:
            self.perform(node, node.network.handle(Received(connection, data), self.now))

    def _sent(self, node: Node, connection: int, size: int) -> None:
        if connection in self._ends:
            self.perform(node, node.network.handle(Sent(connection, size), self.now))

    def _close(self, connection: int) -> None:
        """End a connection after what was sent has arrived."""
        end = self._ends.get(connection)
        if end is None:
            return
        node, other = end

        def finish() -> None:
            if self._ends.pop(other, None) is not None:
                self._ends.pop(connection, None)
                self.perform(node, node.network.handle(Closed(other, "closed by the peer"), self.now))

        self._at(max(self.now, self._clear_at.get(connection, 0)), finish)

    def _tick(self, node: Node) -> None:
        self.perform(node, node.network.handle(Tick(), self.now))
        self._later(TICK_MS, lambda: self._tick(node))

    def _latency(self) -> int:
        return self.random.randrange(1, self.max_latency_ms + 1)

    def _later(self, milliseconds: int, action: Callable[[], None]) -> None:
        self._at(self.now + milliseconds, action)

    def _at(self, at: int, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, action))
