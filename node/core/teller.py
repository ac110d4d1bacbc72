"""Telling: which peers hear what the agreement says, and when.

Rules of this file: what a signature is on, leaves at once. What votes show to be known waits for them a little (Δ/2),
then goes to those alone who have shown nothing; that a block is final waits as long for the block, so that whoever
hears of it can fetch it where it heard of it, and one message brings the certificate and the header. Nothing waits
where a message is flooded, because validators do not all reach each other.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from chain.block import Header, block_id
from chain.ids import Hash, Height, Millis
from consensus.pos.agreement import Agreement
from consensus.pos.effects import Audience, Pass, Tell
from consensus.pos.sparing import shown_by
from consensus.pos.votes import Message, Proposal, Vote, VoteKind
from node.core.audience import Listeners
from node.core.chain import Chain
from node.core.messages import ConnectedBlock
from node.core.turn import Turn
from p2p.events import PeerId
from p2p.network import PeerNetwork

MAX_WAITING: Final = 64
"""Messages that wait at most; the one that waited longest makes room by being sent."""
_Hearers = tuple[Collection[PeerId] | None, bool]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message that may wait until ``due``: for those who may show that they have it, or for the block it is about."""

    effect: Tell | Pass
    due: Millis


class Teller:
    """Sends the agreement's messages. ``patience_ms`` is how long one may wait at most."""

    def __init__(
        self, network: PeerNetwork, listeners: Listeners, agreement: Agreement, chain: Chain, patience_ms: int
    ) -> None:
        self._network = network
        self._listeners = listeners
        self._agreement = agreement
        self._chain = chain
        self._patience_ms = patience_ms
        self._waiting: list[_Waiting] = []

    @property
    def is_waiting(self) -> bool:
        """Does a message wait?"""
        return bool(self._waiting)

    def tell(self, effect: Tell, turn: Turn) -> None:
        """Send a message of this node."""
        hearers = self._listeners.of(effect.audience)
        if effect.again:
            self._send(effect, hearers, turn)
        elif effect.is_urgent:
            self._note(effect, turn)
            self._send(effect, hearers, turn)
        else:
            self._send_in_time(effect, hearers, turn)

    def pass_on(self, effect: Pass, turn: Turn, *, is_flooded: bool) -> None:
        """Send another's message to those whom it concerns too; ``is_flooded``: it came to be passed on."""
        hearers = self._listeners.of_passed(effect.audience, is_flooded=is_flooded)
        if hearers is not None:
            self._send_in_time(effect, hearers, turn)

    def _send_in_time(self, effect: Tell | Pass, hearers: _Hearers, turn: Turn) -> None:
        """Send a message now, or let it wait for what may spare it."""
        is_spared = effect.shown is not None and hearers[0] is not None
        if not is_spared and (effect.final is None or self._has_block(effect.final)):
            self._send(effect, hearers, turn)
            return
        if len(self._waiting) >= MAX_WAITING:
            self._send_late(self._waiting.pop(0), turn)
        self._waiting.append(_Waiting(effect, Millis(turn.now + self._patience_ms)))

    def _send(self, effect: Tell | Pass, hearers: _Hearers, turn: Turn) -> None:
        to, passing = hearers
        again = isinstance(effect, Tell) and effect.again
        brings_head = effect.final is not None and self._has_block(effect.final)
        sparing = effect.audience is Audience.FOLLOWERS  # unless something is amiss
        tell = partial(self._network.tell_engine, passing=passing, again=again, brings_head=brings_head)
        turn.network(tell(effect.message, effect.key, to, turn.now, sparing=sparing))

    def _note(self, effect: Tell | Pass, turn: Turn) -> None:
        """Note who has shown to have a message."""
        for account in self._agreement.find_shown(effect.shown) if effect.shown is not None else ():
            self._network.has_engine_message(PeerId(account), effect.key, turn.now)

    def _has_block(self, block: Hash) -> bool:
        """Is a block executed here, on the main chain?"""
        tree, head = self._chain.tree, self._chain.head_id
        return block == head or (
            block in tree and tree.ancestor_id(head, Height(min(tree.height(block), self._chain.height))) == block
        )

    def on_tick(self, turn: Turn) -> None:
        """Send what has waited long enough."""
        self._send_due(turn)

    def on_head(self, connected: Collection[ConnectedBlock], turn: Turn) -> None:
        """Tell that blocks are final which waited to be executed; note who voted for them."""
        for block in connected:
            shown = shown_by(Proposal(block.header))
            for account in self._agreement.find_shown(shown) if shown is not None else ():
                self._note_block(PeerId(account), block.header, turn)
        self._send_due(turn)

    def _send_due(self, turn: Turn) -> None:
        """Send what has waited long enough, and what waited for a block that is here now."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            final = each.effect.final
            if each.due <= turn.now or (final is not None and self._has_block(final)):
                self._send_late(each, turn)
            else:
                self._waiting.append(each)

    def _send_late(self, waiting: _Waiting, turn: Turn) -> None:
        self._note(waiting.effect, turn)
        self._send(waiting.effect, self._listeners.of(waiting.effect.audience), turn)

    def heard(self, peer: PeerId, message: Message, turn: Turn) -> None:
        """Take a message: who votes for a block has it, and says so itself."""
        if isinstance(message, Vote) and message.kind is not VoteKind.NULLIFY and peer == message.validator:
            block = Hash(message.block)
            header = self._chain.tree.header(block) if self._has_block(block) else None
            if header is not None:
                self._note_block(peer, header, turn)

    def _note_block(self, peer: PeerId, header: Header, turn: Turn) -> None:
        weight = self._chain.tree.weight(block_id(header))
        self._network.has_block(peer, header, weight, turn.now)
