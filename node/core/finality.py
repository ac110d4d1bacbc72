"""What certificates made final, told to the tree as soon as the block's header is there, and kept.

Rules of this file: a final block is on disk with its certificate before anybody acts on it. A certificate may come long
before its block; the highest such one is remembered, for it makes all lower ones final too.
"""

from chain.block import Header
from chain.codec import encode
from chain.ids import Hash, Height
from consensus.engine import Verdict
from consensus.errors import ConflictingFinality
from consensus.otherrules import find_rules_gap
from consensus.pos.votes import Certificate
from node.core.chain import Chain
from node.core.importer import CALL_PEOPLE, Importer
from node.core.messages import FinalMoved
from node.core.turn import Turn
from node.notices import BlockFinal
from node.world import World
from storage.base import FinalBlock


class Finality:
    """Moves the final height."""

    def __init__(self, world: World, chain: Chain, importer: Importer) -> None:
        self._world = world
        self._chain = chain
        self._importer = importer
        self._pending: Certificate | None = None

    @property
    def height(self) -> Height:
        """The height of the highest block known to be final, executed here or not."""
        return self._chain.tree.height(self._chain.tree.decided)

    @property
    def is_ahead(self) -> bool:
        """Is a block known to be final that is not executed here?"""
        return self._pending is not None or self.height > self._chain.height

    def finalize(
        self, certificate: Certificate, turn: Turn, header: Header | None = None, *, is_live: bool = False
    ) -> None:
        """Take a finality certificate, with the header of its block if that came along.

        One that ``is_live`` is kept among the messages of the epoch under way, whatever else comes of it.
        """
        block = Hash(certificate.block)
        if block not in self._chain.tree:
            if is_live:
                self._keep_live(certificate)
            self._look_for_newer_rules(block, header)
            if self._pending is None or _place(certificate) > _place(self._pending):
                self._pending = certificate
            return
        tree, before = self._chain.tree, self.height
        height = tree.height(block)
        try:
            self._importer.decide(block)
        except ConflictingFinality as error:
            if is_live:
                self._keep_live(certificate)
            turn.halt(f"{error}; {CALL_PEOPLE}")
            return  # the first stays final, here and on disk: a restart must not change sides
        if height > before:
            final = FinalBlock(height, block, encode(certificate))
            self._world.store.certificates.keep_final(final, _place(certificate) if is_live else None)
        elif is_live:
            self._keep_live(certificate)
        self._importer.follow(turn)
        if self.height > before:
            turn.publish(BlockFinal(height, block))
            turn.tell(FinalMoved(height, block))

    def _keep_live(self, certificate: Certificate) -> None:
        self._world.store.certificates.keep_live(*_place(certificate), encode(certificate))

    def _look_for_newer_rules(self, block: Hash, header: Header | None) -> None:
        """Is it final under rules that this node does not follow? Then it has to stop (``node.core.outdated``)."""
        gap = None if header is None else find_rules_gap(self._world.genesis, header)
        if header is not None and gap is not None and gap.verdict is Verdict.NEWER_RULES:
            self._chain.tree.note_newer_final_header(header)
        else:
            self._chain.tree.note_newer_final(block)

    def retry(self, turn: Turn) -> None:
        """Look whether the header of the block has come that is known to be final."""
        pending = self._pending
        if pending is not None:
            self._chain.tree.note_newer_final(Hash(pending.block))
        if pending is not None and pending.block in self._chain.tree:
            self._pending = None
            self.finalize(pending, turn)


def _place(certificate: Certificate) -> tuple[int, int]:
    return certificate.epoch, certificate.view
