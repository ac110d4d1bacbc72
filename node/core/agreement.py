"""The agreement desk: drives the agreement of an engine with votes, and does what it asks for.

Rules of this file: a signature leaves only after the journal has it on disk (``node.signer``). Which block is final,
which epoch begins and who builds a block are other parts' work; this one carries messages between the agreement, the
peers and those parts.

    peers ─EngineArrived─▶ desk ─▶ Agreement ─▶ effects ─┬▶ signer, then peers      ├▶ Importer: admit, set aside
    Importer ─HeadChanged▶ desk                          ├▶ Finality, Epochs        └▶ Validator role: ProposalWanted
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

from chain.block import block_id
from chain.codec import encode
from chain.ids import AccountId, Hash, Height, Millis
from consensus.pos.agreement import Agreement
from consensus.pos.effects import (
    Abandon,
    Accuse,
    Admit,
    CastReproposal,
    CastVote,
    Effect,
    Finalized,
    Notarized,
    Nullified,
    OwnVoteSeen,
    Pass,
    Propose,
    Tell,
    Timer,
    TimerToken,
)
from consensus.pos.engine import PosEngine
from consensus.pos.epochproof import EpochProof
from consensus.pos.errors import MessageFault
from consensus.pos.evidence import epoch_of_evidence
from consensus.pos.fields import read_fields
from consensus.pos.votes import Certificate, Message, Proposal, VoteKind, message_key, read_message
from consensus.staking.state import get_validator
from node.core.accuser import Accuser
from node.core.audience import Listeners
from node.core.chain import Chain
from node.core.earlyheaders import EarlyHeaders
from node.core.epochs import Epochs, EpochStart
from node.core.finality import Finality
from node.core.grace import Grace
from node.core.headstart import HeadStart
from node.core.importer import Importer
from node.core.messages import (
    BlockCondemned,
    BlockMade,
    HeadChanged,
    HeaderAdmitted,
    ProposalWanted,
    StateAdopted,
)
from node.core.relays import LATE_DELTAS, Relays
from node.core.repeats import Repeats
from node.core.teller import Teller
from node.core.turn import Turn
from node.core.waymarks import Waymarks
from node.events import Started, Tick
from node.notices import SigningRefused
from node.signer import ValidatorSigner, describe
from node.status import AgreementStatus, Part
from node.world import World
from p2p.events import EngineArrived, EpochsArrived, PeerDown, PeerId, PeerListens, PeerUp, Verdict
from p2p.network import PeerNetwork

_REMEDY: Final = (
    "make sure that no other node runs with this key; then start this node again once that epoch is over. Until then "
    "it follows the chain and signs nothing"
)
HEAD_DELTAS: Final = 2
"""A head waits so many Δ for the certificate that makes it final; who does not vote hears of both together."""
_Handler = Callable[[Effect, Turn], None]


class AgreementDesk:
    """The votes of this node's engine. A node without a signer follows and casts nothing."""

    def __init__(
        self,
        world: World,
        engine: PosEngine,
        chain: Chain,
        network: PeerNetwork,
        importer: Importer,
        marks: Waymarks,
        *,
        accuses_at_a_loss: bool = False,
    ) -> None:
        self._world = world
        self._engine = engine
        self._chain = chain
        self._network = network
        self._importer = importer
        self._signer: ValidatorSigner | None = world.signer
        account = None if self._signer is None else self._signer.account
        self._agreement = Agreement(world.genesis, account, world.signatures)
        self._listeners = Listeners(network, world.key.account)
        self._epochs = Epochs(world, engine, chain, marks)
        self._finality = Finality(world, chain, importer)
        self._grace = Grace(engine.parameters, account)
        self._accuser = Accuser(world, engine.parameters, chain, at_a_loss=accuses_at_a_loss)
        self._timers: dict[TimerToken, Millis] = {}
        self._early = EarlyHeaders(engine, self._agreement, world.signatures, self._epochs.find_last_view)
        self._ending: Certificate | None = None
        self._boundary = Height(0)
        self._source: tuple[PeerId, bool] | None = None
        self._head_start = HeadStart(network, self._listeners)
        self._repeats = Repeats()
        self._due: deque[Effect] = deque()
        self._is_doing = False
        self._handlers = self._make_table()
        patience = engine.parameters.block_ms + LATE_DELTAS * engine.parameters.delta_ms
        self._relays = Relays(network, patience)
        self._teller = Teller(network, self._listeners, self._agreement, chain, engine.parameters.delta_ms // 2)
        importer.head_patience_ms = HEAD_DELTAS * engine.parameters.delta_ms
        importer.let_in = self._early.let_in
        importer.find_vouched = self._epochs.find_vouched

    def _make_table(self) -> dict[type, _Handler]:
        table: dict[type, Callable[..., None]] = {
            CastVote: self._cast_vote,
            CastReproposal: self._cast_reproposal,
            Propose: self._propose,
            Admit: self._admit,
            Notarized: self._keep,
            Nullified: self._keep,
            Finalized: self._finalized,
            Abandon: self._abandon,
            Tell: self._tell,
            Pass: self._pass_on,
            Timer: self._set_timer,
            Accuse: self._accuse,
            OwnVoteSeen: self._check_own,
        }
        return cast(dict[type, _Handler], table)

    # --- what others may read ---------------------------------------------------------------------

    @property
    def place(self) -> tuple[int, int]:
        """The epoch and view this node is in."""
        return self._agreement.epoch or 0, self._agreement.view

    @property
    def agreement(self) -> Agreement:
        """The machine, to be read."""
        return self._agreement

    @property
    def epochs(self) -> Epochs:
        """The validators, to be read."""
        return self._epochs

    @property
    def refusal(self) -> str:
        """Why this validator does not sign; empty if it does, or has no key."""
        return "" if self._signer is None else self._signer.refusal

    def status(self) -> AgreementStatus:
        """Return where the agreement is, and this node's part in it."""
        epoch, view = self.place
        set = self._listeners.set
        leads = self._signer is not None and self._agreement.leader == self._signer.account
        part, reason = self._part()
        return AgreementStatus(epoch, view, 0 if set is None else len(set.members), part, leads, reason)

    def _part(self) -> tuple[Part, str]:
        signer, set = self._signer, self._listeners.set
        if signer is None:
            return "follows", ""
        if signer.refusal:
            return "refuses", signer.refusal
        standing = get_validator(self._chain.view, signer.account)
        if standing is not None and standing.standing == "tombstoned":
            return "jailed", "slashed for an offence: it can only unbond"
        if standing is not None and standing.standing == "jailed":
            return "jailed", f"absent too often: `fedchain stake unjail` from block {standing.free_from} on"
        if set is None or signer.account not in set:
            return "follows", ""
        return ("votes", "") if self._grace.is_over else ("listens", "waits to hear what its peers know of its key")

    # --- what comes in ----------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Go on where the last run was, with the certificates it kept."""
        start = self._epochs.load()
        self._begin(start, turn)
        if start.certificate is not None:
            self._finality.finalize(start.certificate, turn)
        self._importer.judge_again(turn)

    def _begin(self, start: EpochStart, turn: Turn) -> None:
        messages = [data for data in self._world.store.certificates.live() if self._is_of(data, start.set.epoch)]
        self._listeners.set = start.set
        self._grace.on_set(start.set, turn)
        self._boundary = start.boundary.height
        effects = self._agreement.start(start.set, start.boundary, turn.now, messages, may_vote=False)
        self._do(effects, turn)
        self._report_chain(turn)

    def _is_of(self, data: bytes, epoch: int) -> bool:
        message = read_message(data)
        return isinstance(message, Certificate) and message.epoch == epoch

    def _report_chain(self, turn: Turn) -> None:
        """Report the blocks of this epoch that were executed before."""
        tree, head = self._chain.tree, self._chain.head_id
        for height in range(self._boundary + 1, self._chain.height + 1):
            header = tree.ancestor(head, Height(height))
            if header is not None:
                self._do(self._agreement.on_executed(block_id(header), header, turn.now), turn)

    def on_arrived(self, arrived: EngineArrived, turn: Turn) -> None:
        """Take a peer's message; reject who sends what no honest node does. Below the checkpoint nobody is believed."""
        if self._epochs.is_below_checkpoint:
            return
        try:
            message = read_message(arrived.data)
            self._network.has_engine_message(arrived.peer, message_key(message), turn.now, sent=True)
            self._source = arrived.peer, arrived.passing
            effects = self._agreement.on_message(arrived.data, turn.now)
        except MessageFault as fault:
            self._source = None
            turn.network(self._network.verdict(arrived.peer, Verdict.REJECT, f"agreement: {fault}", turn.now))
            return
        self._do(effects, turn)
        self._source = None
        self._teller.heard(arrived.peer, message, turn)
        if isinstance(message, Certificate) and self._is_final(message):
            self._relays.heard(arrived.peer, message, turn)
        self._look_for_epochs(message, turn)

    def _is_final(self, certificate: Certificate) -> bool:
        """Does it make a block final, and one that is known here to be final?"""
        epoch, final = self._agreement.epoch or 0, self._agreement.final_view
        known = certificate.epoch < epoch or (certificate.epoch == epoch and certificate.view <= final)
        return known and certificate.kind is VoteKind.FINALIZE

    def _look_for_epochs(self, message: Message, turn: Turn) -> None:
        """A message of a later epoch than is known here: fetch how those between ended."""
        epoch = read_fields(message.header).epoch if isinstance(message, Proposal) else message.epoch
        if epoch > self.place[0] and epoch > self._epochs.newest.epoch:
            self._want_epochs(turn)

    def _want_epochs(self, turn: Turn) -> None:
        if not self._epochs.is_below_checkpoint:
            turn.network(self._network.want_epochs(self._epochs.newest.epoch, turn.now))
        elif (due := self._epochs.due()) is not None:
            turn.network(self._network.want_epochs(due, turn.now))

    def on_epochs(self, arrived: EpochsArrived, turn: Turn) -> None:
        """Take proofs of how epochs ended: their boundary blocks are final, and the next epochs' sets are known."""
        try:
            proofs = self._epochs.take(arrived.proofs, arrived.first)
        except MessageFault as fault:
            turn.network(self._network.verdict(arrived.peer, Verdict.REJECT, str(fault), turn.now))
            return
        for proof in proofs:
            self._finality.finalize(proof.certificate, turn, proof.boundary)
        if proofs:
            self._go_on_from(proofs[-1], turn)

    def _go_on_from(self, last: EpochProof, turn: Turn) -> None:
        self._begin_epoch(EpochStart(last.next_set, last.boundary), turn)
        self._want_epochs(turn)

    def on_peer_up(self, up: PeerUp, turn: Turn) -> None:
        """Tell a new peer where the agreement is, and what is known of its own votes."""
        self._tell_peer(up.peer, turn)
        self._grace.on_peer(up.peer, turn)
        wanted = self._epochs.wanted(up.info.height)
        if wanted is not None:
            turn.network(self._network.want_epochs(wanted, turn.now))

    def on_peer_down(self, down: PeerDown, turn: Turn) -> None:
        """Count no longer on a peer that left."""
        self._grace.on_peer_down(down.peer, turn)
        self._relays.on_peer_down(down.peer, turn)

    def on_peer_listens(self, listens: PeerListens, turn: Turn) -> None:
        """Tell a peer what it may have missed."""
        self._tell_peer(listens.peer, turn)

    def _tell_peer(self, peer: PeerId, turn: Turn) -> None:
        for data in self._agreement.on_peer(AccountId(peer)):
            key = message_key(read_message(data))
            turn.network(self._network.tell_engine(data, key, (peer,), turn.now))

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Tell the agreement what was executed; end an epoch whose last block is the head now."""
        self._finality.retry(turn)
        for block in changed.connected:
            self._do(self._agreement.on_executed(block.id, block.header, turn.now), turn)
        self._teller.on_head(changed.connected, turn)
        self._end_epoch(turn)

    def on_adopted(self, adopted: StateAdopted, turn: Turn) -> None:
        """The state came from peers: go on from it."""
        self._finality.retry(turn)
        self._report_chain(turn)
        self._end_epoch(turn)

    def on_condemned(self, condemned: BlockCondemned, turn: Turn) -> None:
        """Tell the agreement that a block is none to vote for."""
        self._do(self._agreement.on_refused(condemned.id, turn.now), turn)

    def on_block_made(self, made: BlockMade, turn: Turn) -> None:
        """Send out this validator's own proposal."""
        self._head_start.bring(made, turn)
        self._do(self._agreement.on_signed(encode(Proposal(made.header)), turn.now), turn)
        self._head_start.tell_followers(made, turn)

    def awaits_tick(self) -> bool:
        """Does something wait to be said, or to be heard before this validator votes?"""
        is_listening = self._signer is not None and not self._grace.is_over
        return is_listening or self._repeats.is_due or self._teller.is_waiting or self._epochs.is_below_checkpoint

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Fire the timers that are due."""
        for token in [token for token, at in self._timers.items() if at <= turn.now]:
            self._timers.pop(token, None)
            self._do(self._agreement.on_timer(token, turn.now), turn)
        for effect in self._repeats.take():
            self._teller.tell(effect, turn)
        if self._epochs.is_below_checkpoint:
            self._want_epochs(turn)
        elif self._signer is not None and not self._grace.is_over and self._grace.is_due(turn.now):
            self._grace.end()
            if not self._signer.refusal:
                self._do(self._agreement.allow_votes(turn.now), turn)
        self._finality.retry(turn)
        self._release_early(turn)
        self._relays.watch(self._chain.head.time_ms, turn, is_missing=self._finality.is_ahead)
        self._teller.on_tick(turn)

    def _release_early(self, turn: Turn) -> None:
        """Let in the headers that certificates bear out now."""
        for header in self._early.release():
            turn.tell(HeaderAdmitted(header, ()))

    # --- what the agreement asks for --------------------------------------------------------------

    def _do(self, effects: Sequence[Effect], turn: Turn) -> None:
        """Do the effects, then those that doing them has led to: one after the other, however long the chain of them.

        A validator that is a quorum by itself leads from view to view without anybody else's word.
        """
        self._due.extend(effects)
        if self._is_doing:
            return
        self._is_doing = True
        try:
            while self._due:
                effect = self._due.popleft()
                self._handlers[type(effect)](effect, turn)
        finally:
            self._is_doing = False

    def _cast_vote(self, wish: CastVote, turn: Turn) -> None:
        set = self._engine.sets.get(wish.epoch)
        if self._signer is None or set is None or self._chain.find_stop():
            return
        vote = self._signer.sign_vote(set.seed, wish.epoch, wish.view, wish.kind, wish.block)
        if vote is not None:
            self._do(self._agreement.on_signed(encode(vote), turn.now), turn)

    def _cast_reproposal(self, wish: CastReproposal, turn: Turn) -> None:
        set = self._engine.sets.get(wish.epoch)
        if self._signer is None or set is None or self._chain.find_stop():
            return
        signed = self._signer.sign_reproposal(set.seed, wish.epoch, wish.view, wish.parent_view, wish.block)
        if signed is not None:
            self._do(self._agreement.on_signed(encode(signed), turn.now), turn)

    def _propose(self, wish: Propose, turn: Turn) -> None:
        turn.tell(ProposalWanted(wish.epoch, wish.view, wish.parent, wish.not_before_ms))

    def _admit(self, wish: Admit, turn: Turn) -> None:
        """Fetch a block from its producer; who passes a proposal on rarely has the body yet."""
        producer = PeerId(wish.header.producer)
        is_alone = self._source is None or self._network.is_connected(producer)
        sources = (producer,) if is_alone or self._source is None else (producer, self._source[0])
        turn.tell(HeaderAdmitted(wish.header, sources))

    def _keep(self, effect: Notarized | Nullified, turn: Turn) -> None:
        certificate = effect.certificate
        self._world.store.certificates.keep_live(certificate.epoch, certificate.view, encode(certificate))
        if isinstance(effect, Notarized):
            self._importer.take_back(Hash(certificate.block), turn)
            self._release_early(turn)

    def _finalized(self, effect: Finalized, turn: Turn) -> None:
        certificate = effect.certificate
        self._finality.finalize(certificate, turn, is_live=True)
        self._world.store.certificates.forget_live(certificate.epoch, certificate.view)
        self._release_early(turn)
        if effect.ends_epoch:
            self._ending = certificate
            self._end_epoch(turn)

    def _end_epoch(self, turn: Turn) -> None:
        """Go on to the next epoch once the state after the last block of this one is the node's."""
        start = None if self._ending is None else self._epochs.close(self._ending)
        if start is not None:
            self._begin_epoch(start, turn)

    def _begin_epoch(self, start: EpochStart, turn: Turn) -> None:
        self._listeners.set = start.set
        self._grace.on_set(start.set, turn)
        self._boundary, self._ending = start.boundary.height, None
        self._world.store.certificates.forget_live(start.set.epoch, 0)
        self._do(self._agreement.on_epoch(start.set, start.boundary, turn.now), turn)
        self._report_chain(turn)
        self._release_early(turn)
        self._importer.judge_again(turn)

    def _abandon(self, effect: Abandon, turn: Turn) -> None:
        self._importer.set_aside(effect.blocks, turn)

    def _set_timer(self, timer: Timer, turn: Turn) -> None:
        self._timers = {token: at for token, at in self._timers.items() if token.view >= timer.token.view - 1}
        self._timers[timer.token] = timer.at_ms
        if self._signer is not None and timer.token.is_patience:  # all else has time until the next tick
            turn.wake(timer.at_ms)

    def _accuse(self, effect: Accuse, turn: Turn) -> None:
        set = self._engine.sets.get(epoch_of_evidence(effect.evidence))
        if self._signer is not None and set is not None:
            self._accuser.accuse(effect.evidence, set, turn)

    # --- telling ----------------------------------------------------------------------------------

    def _tell(self, effect: Tell, turn: Turn) -> None:
        if effect.again:
            self._repeats.put(effect)
            self._relays.recall(turn)
        else:
            self._teller.tell(effect, turn)

    def _pass_on(self, effect: Pass, turn: Turn) -> None:
        """Pass on what concerns others too."""
        self._teller.pass_on(effect, turn, is_flooded=self._source is not None and self._source[1])

    # --- a key that signs elsewhere ---------------------------------------------------------------

    def _check_own(self, seen: OwnVoteSeen, turn: Turn) -> None:
        """Refuse to sign for ever if the key has signed what the journal does not know."""
        signer = self._signer
        if signer is None or signer.refusal or signer.knows(seen.message):
            return
        reason = f"this validator's key has signed {describe(seen.message)}, which its journal does not know: {_REMEDY}"
        signer.refuse(reason)
        self._agreement.forbid_votes()
        turn.publish(SigningRefused(self.place[0], self.place[1], reason))
