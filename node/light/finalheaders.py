"""Proof of stake without blocks: the last header that a certificate made final, from set to set.

Proofs of how epochs ended bring the sets of validators, each signed by the one before it, from genesis on; in the live
epoch finality certificates say which header counts. Nothing else is believed: no proposal, no vote, no claim of a peer.
More than a third of the stake would have to lie to show this node a false state.

Memory: the engine's sets, one header, and ``_HEARD`` headers that wait for their certificate.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from chain.block import Header, block_id
from chain.ids import Hash, Height, Millis
from consensus.engine import Verdict as HeaderJudgement
from consensus.past import NO_HEADERS
from consensus.pos.engine import PosEngine
from consensus.pos.epochproof import EpochProof, find_proof_fault, proof_block, read_epoch_proof
from consensus.pos.errors import MessageFault
from consensus.pos.fields import read_fields
from consensus.pos.validators import epoch_of
from consensus.pos.votes import Certificate, Proposal, VoteKind, find_certificate_fault, message_key, read_message
from node.core.checkpoint import Checkpoint
from node.core.turn import Turn
from node.errors import StartupError
from node.light.kept import MAX_FINAL, FinalTail
from node.light.liars import Liars
from node.light.source import TipMoved
from node.world import World
from p2p.access import HeaderTrial, TrialStep
from p2p.events import EngineArrived, EpochsArrived, HeadersArrived, PeerDown, PeerId, PeerInfo, PeerUp
from p2p.network import PeerNetwork

_HEARD: Final = 256
_NEVER_ENOUGH: Final = 1 << 500
"""No peer's weight counts: headers are asked for only to learn a head that is not known."""


class _Untried:
    """No trial: a header is believed under a certificate alone, and few are kept until then."""

    def locator(self) -> tuple[Hash, ...]:
        """Return nothing: the node's own locator says where to go on."""
        return ()

    def take(self, headers: tuple[Header, ...], more: bool, now: Millis) -> TrialStep:
        """Hand on all."""
        return TrialStep(headers[-_HEARD:])


class FinalHeaders:
    """The last final header, and the validators who may make the next one final."""

    def __init__(
        self,
        world: World,
        engine: PosEngine,
        checkpoint: Checkpoint | None,
        liars: Liars,
        kept: FinalTail | None = None,
    ) -> None:
        genesis = world.store.header(world.store.tip())
        assert genesis is not None  # a light node's store holds genesis and nothing else
        self._blocks = engine.parameters.epoch_blocks
        if checkpoint is not None and checkpoint.height % self._blocks:
            raise StartupError(
                f"a light node can't check the checkpoint at height {checkpoint.height}: no epoch ends there",
                f"name a block at a multiple of {self._blocks}",
            )
        self._world = world
        self._engine = engine
        self._checkpoint = checkpoint
        self._liars = liars
        self._genesis = block_id(genesis)
        self._best = genesis
        self._place = (0, 0)
        self._boundary: Hash = self._genesis
        self._boundary_height = 0
        self._final: OrderedDict[Hash, Header] = OrderedDict([(self._genesis, genesis)])
        self._heard: OrderedDict[Hash, Header] = OrderedDict()
        self._pending: Certificate | None = None
        if kept is not None:
            self._resume(kept)
        self.network: PeerNetwork | None = None

    def _resume(self, kept: FinalTail) -> None:
        """Be where an earlier run was."""
        self._engine.sets.put(kept.validators)
        self._best = kept.headers[-1]
        self._place = (kept.epoch, kept.view)
        self._boundary, self._boundary_height = Hash(kept.boundary), int(kept.boundary_height)
        self._final = OrderedDict((block_id(header), header) for header in kept.headers)

    def keep(self) -> FinalTail | None:
        """Return what the next run is to begin with; None as long as nothing is final."""
        if not self._best.height:
            return None
        set, (epoch, view) = self._engine.sets.newest, self._place
        headers, height = tuple(self._final.values()), Height(self._boundary_height)
        return FinalTail(set, self._boundary, height, epoch, view, headers)

    # --- what is trusted --------------------------------------------------------------------------

    @property
    def best(self) -> Header:
        """The last final header."""
        return self._best

    @property
    def final_height(self) -> Height:
        """Its height."""
        return self._best.height

    @property
    def is_past_checkpoint(self) -> bool:
        """Did an epoch end with the checkpoint's block?"""
        return self._checkpoint is None or self._boundary_height >= self._checkpoint.height

    def find_trusted(self, id: Hash) -> Header | None:
        """Return one of the last final headers."""
        return self._final.get(id)

    def choose(self, peers: Iterable[PeerInfo]) -> list[Header]:
        """Return the last final headers, the highest first."""
        return list(reversed(self._final.values()))

    def find_stop(self) -> str | None:
        """Return that the last final block follows rules this program was not told of."""
        expected = self._world.genesis.rules_at(self._best.height).version
        if self._best.version == expected:
            return None
        return (
            f"final block {self._best.height} follows rules version {self._best.version}, this node expects "
            f"{expected}: install a later release of fedchain, put the network's upgrades.json beside genesis.json, "
            "and start again"
        )

    def says(self) -> str:
        """Say what is trusted."""
        start = "genesis" if self._checkpoint is None else f"checkpoint {self._checkpoint}"
        return f"light: certificates of two thirds of the stake from {start}, and state proofs"

    # --- for the peer network ---------------------------------------------------------------------

    def has_header(self, id: Hash) -> bool:
        """Is it final or waiting for its certificate?"""
        return id in self._final or id in self._heard

    def header_weight(self) -> int:
        """Return more than any peer claims."""
        return _NEVER_ENOUGH

    def locator(self) -> tuple[Hash, ...]:
        """Return the last final block, the one before its epoch, and genesis."""
        return tuple(dict.fromkeys([block_id(self._best), self._boundary, self._genesis]))

    def trial(self) -> HeaderTrial:
        """Return a trial that tries nothing."""
        return _Untried()

    # --- headers ----------------------------------------------------------------------------------

    def on_headers(self, arrived: HeadersArrived, turn: Turn) -> None:
        """Remember headers until a certificate names them."""
        for header in arrived.headers:
            if not self._hear(header, arrived.peer, turn):
                return
        self._retry(turn)

    def _hear(self, header: Header, peer: PeerId, turn: Turn) -> bool:
        """Remember a header; False if only a broken or hostile node sends it."""
        id = block_id(header)
        if self.has_header(id) or header.height <= self._best.height:
            return True
        if self._pending is None or self._pending.block != id:  # what a certificate names needs no other judge
            verdict = self._engine.check_header(NO_HEADERS, header, turn.now)
            if verdict.verdict is HeaderJudgement.INVALID:
                self._reject(peer, f"header {id.hex()}: {verdict.reason}", turn)
                return False
        self._heard[id] = header
        if len(self._heard) > _HEARD:
            self._heard.popitem(last=False)
        if epoch_of(header.height, self._blocks) > self._newest:
            self._want_epochs(turn)
        return True

    def _reject(self, peer: PeerId, reason: str, turn: Turn) -> None:
        assert self.network is not None
        self._liars.condemn(peer, self._best.height, reason, self.network, turn)

    # --- certificates -----------------------------------------------------------------------------

    def on_engine(self, arrived: EngineArrived, turn: Turn) -> None:
        """Take a finality certificate, or a proposal's header; the rest is for nodes that have the blocks."""
        assert self.network is not None
        try:
            message = read_message(arrived.data)
            self.network.has_engine_message(arrived.peer, message_key(message), turn.now)
            if isinstance(message, Proposal):
                if read_fields(message.header).epoch <= self._newest:
                    self._hear(message.header, arrived.peer, turn)
                    self._retry(turn)
            elif isinstance(message, Certificate) and message.kind is VoteKind.FINALIZE:
                self._take(message, turn)
        except (MessageFault, ValueError) as fault:
            self._reject(arrived.peer, f"agreement: {fault}", turn)

    def _take(self, certificate: Certificate, turn: Turn) -> None:
        """Take a finality certificate. ``MessageFault`` if it proves nothing."""
        place = certificate.epoch, certificate.view
        known = self._place if self._pending is None else (self._pending.epoch, self._pending.view)
        if place <= max(known, self._place):
            return
        set = self._engine.sets.get(certificate.epoch)
        if set is None:
            if certificate.epoch > self._newest:
                self._want_epochs(turn)
            return
        fault = find_certificate_fault(set, certificate, self._world.signatures)
        if fault is not None:
            raise MessageFault(fault)
        self._pending = certificate
        if certificate.epoch == self._newest:
            assert self.network is not None
            turn.network(self.network.want_epochs(None, turn.now))  # this is the live one
        self._retry(turn)

    def _retry(self, turn: Turn) -> None:
        """Make the header final that a certificate names, if it is here."""
        pending = self._pending
        header = None if pending is None else self._heard.get(Hash(pending.block)) or self._final.get(pending.block)
        if pending is not None and header is not None:
            self._pending = None
            self._finalize(header, pending, turn)

    def _finalize(self, header: Header, certificate: Certificate, turn: Turn) -> None:
        place = certificate.epoch, certificate.view
        if place <= self._place:
            return
        id = block_id(header)
        if header.height <= self._best.height and id not in self._final:
            turn.halt(
                f"block {id.hex()} at height {header.height} is final, and so is block {block_id(self._best).hex()} at "
                f"{self._best.height}: more than a third of the stake signed both"
            )
            return
        self._place = place
        if header.height > self._best.height:
            self._best = self._final[id] = header
            while len(self._final) > MAX_FINAL:
                self._final.popitem(last=False)
            self._heard = OrderedDict((key, each) for key, each in self._heard.items() if each.height > header.height)
            turn.tell(TipMoved())

    # --- epochs -----------------------------------------------------------------------------------

    @property
    def _newest(self) -> int:
        return self._engine.sets.newest.epoch

    def _want_epochs(self, turn: Turn) -> None:
        assert self.network is not None
        turn.network(self.network.want_epochs(self._newest, turn.now))

    def on_peer_up(self, up: PeerUp, turn: Turn) -> None:
        """Learn the sets up to where the peer says it is."""
        if up.info.height and epoch_of(up.info.height + 1, self._blocks) > self._newest:
            self._want_epochs(turn)

    def on_peer_down(self, down: PeerDown, turn: Turn) -> None:
        """Nothing."""

    def on_epochs(self, arrived: EpochsArrived, turn: Turn) -> None:
        """Take proofs of how epochs ended, each signed by the validators of the one before."""
        before = self._newest
        try:
            for number, data in enumerate(arrived.proofs, arrived.first):
                if number >= self._newest:
                    self._learn(read_epoch_proof(data), number, turn)
        except MessageFault as fault:
            self._reject(arrived.peer, f"proofs of epochs: {fault}", turn)
            return
        if self._newest > before:
            self._want_epochs(turn)
        self._retry(turn)

    def _learn(self, proof: EpochProof, number: int, turn: Turn) -> None:
        set = self._engine.sets.newest
        if number > set.epoch:
            raise MessageFault(f"a proof of epoch {number}, whose validators are not known yet")
        fault = find_proof_fault(set, self._blocks, proof, self._world.signatures)
        if fault is None and self._checkpoint is not None:
            fault = self._checkpoint.find_contradiction(proof.boundary)
        if fault is not None:
            raise MessageFault(f"epoch {number}: {fault}")
        self._engine.sets.put(proof.next_set)
        self._boundary, self._boundary_height = proof_block(proof), int(proof.boundary.height)
        self._finalize(proof.boundary, proof.certificate, turn)
