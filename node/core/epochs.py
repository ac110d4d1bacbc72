"""The validators of every epoch that is beyond doubt: from genesis on, each set by the end of the epoch before.

An epoch's end is proven once, when its boundary block is final and its state is here, and kept for ever; a node that
was away gets the proofs from peers. Rules of this file: whatever it tells the engine stands in a final state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chain.block import Header, block_id
from chain.codec import encode
from chain.ids import Hash, Height
from consensus.pos.engine import PosEngine
from consensus.pos.epochproof import EpochProof, find_proof_fault, make_epoch_proof, proof_block, read_epoch_proof
from consensus.pos.errors import MessageFault
from consensus.pos.fields import read_fields
from consensus.pos.validators import ValidatorSet, boundary_height, epoch_of
from consensus.pos.votes import Certificate
from consensus.pos.vouched import find_vouched
from consensus.staking.state import get_validator_set
from node.core.chain import Chain
from node.core.waymarks import Waymarks
from node.world import World

AHEAD: Final = 128
"""Epochs beyond the best header whose sets are fetched at most: the engine keeps about twice as many."""


@dataclass(frozen=True, slots=True)
class EpochStart:
    """An epoch that may begin: its validators, and the final block it stands on, with what made it final if known."""

    set: ValidatorSet
    boundary: Header
    certificate: Certificate | None = None


class Epochs:
    """What is known of how epochs ended."""

    def __init__(self, world: World, engine: PosEngine, chain: Chain, marks: Waymarks) -> None:
        self._world = world
        self._engine = engine
        self._chain = chain
        self._marks = marks
        self._blocks = engine.parameters.epoch_blocks
        self._last_views: dict[int, int] = {}

    @property
    def newest(self) -> ValidatorSet:
        """The set of the last epoch that is known."""
        return self._engine.sets.newest

    def load(self) -> EpochStart:
        """Learn what an earlier run knew; return where to go on."""
        chain, sets = self._chain, self._engine.sets
        last = epoch_of(chain.height + 1, self._blocks)
        for epoch in range(max(0, last - AHEAD), last + 1):
            found = get_validator_set(chain.view, epoch)
            if found is not None and self._is_settled(epoch):
                sets.put(found)
        start = self._start_of(self.newest)
        while (data := self._world.store.certificates.epoch_proof(sets.newest.epoch)) is not None:
            start = self._learn(read_epoch_proof(data))
        return start

    def _is_settled(self, epoch: int) -> bool:
        """Is the boundary block before this epoch final on the head's chain?"""
        return (epoch == 0) or self._chain.tree.decided_height(self._chain.head_id) >= epoch * self._blocks

    def _start_of(self, set: ValidatorSet) -> EpochStart:
        height = Height(set.epoch * self._blocks)
        boundary = self._chain.tree.ancestor(self._chain.head_id, height)
        if boundary is None:
            raise LookupError(f"the main chain has no header at height {height}")
        return EpochStart(set, boundary)

    def wanted(self, height: int) -> int | None:
        """Return the epoch from which on proofs are needed to judge a header at ``height``; None if none are."""
        newest = self.newest.epoch
        if height < 1 or epoch_of(height, self._blocks) <= newest or not self._can_tell(newest):
            return None
        best = self._chain.tree.height(self._chain.tree.best())
        return newest if newest <= epoch_of(best + 1, self._blocks) + AHEAD else None

    @property
    def is_below_checkpoint(self) -> bool:
        """Are the validators up to the operator's checkpoint not all known yet? Then no vote is to be believed."""
        above = self._marks.next_epochs_height
        return above > 0 and (not self._marks.is_reached or self.newest.epoch < epoch_of(above, self._blocks))

    def due(self) -> int | None:
        """Return the epoch below the checkpoint whose end can be told from a false one now; None if none is open."""
        newest = self.newest.epoch
        is_open = self._marks.covers(boundary_height(newest, self._blocks))
        return newest if is_open and self._can_tell(newest) else None

    def _can_tell(self, epoch: int) -> bool:
        """Can a false end of this epoch be told from the true one: by the votes, or as one below the checkpoint?"""
        height = boundary_height(epoch, self._blocks)
        return not self._marks.covers(height) or self._marks.block_at(height) is not None

    def find_vouched(self, headers: Sequence[Header]) -> frozenset[Hash]:
        """Return the ids of those headers that a proven end of an epoch, or the checkpoint, vouches for by links."""
        return find_vouched(headers, self._blocks, self._boundary_at, self._marks.note_at)

    def find_last_view(self, epoch: int) -> int | None:
        """Return the view of the last block of an epoch whose end is proven; None for others."""
        if epoch not in self._last_views:
            data = self._world.store.certificates.epoch_proof(epoch)
            if data is None:
                return None
            self._last_views = {epoch: read_fields(read_epoch_proof(data).boundary).view}  # headers come epoch by epoch
        return self._last_views[epoch]

    def _boundary_at(self, height: int) -> Hash | None:
        data = self._world.store.certificates.epoch_proof(height // self._blocks - 1)
        return None if data is None else block_id(read_epoch_proof(data).boundary)

    def take(self, proofs: tuple[bytes, ...], first: int) -> list[EpochProof]:
        """Check proofs of the epochs from ``first`` on, each by the one before; keep them and return those that are
        news. ``MessageFault`` at the first that is not good."""
        taken: list[EpochProof] = []
        tree = self._chain.tree
        for number, data in enumerate(proofs, first):
            known = self._engine.sets.newest
            if number < known.epoch:
                continue
            if not self._can_tell(number):
                break
            proof = read_epoch_proof(data)
            if number > known.epoch:
                raise MessageFault(f"a proof of epoch {number}, whose validators are not known yet")
            fault = find_proof_fault(known, self._blocks, proof, self._world.signatures)
            if fault is None and self._is_beside_the_way(proof):
                fault = f"{tree.name_checkpoint()}, or that one does not stand on this block"
            if fault is not None:
                raise MessageFault(f"proof of epoch {number}: {fault}")
            self._world.store.certificates.keep_epoch(number, data)
            self._learn(proof)
            taken.append(proof)
        return taken

    def _is_beside_the_way(self, proof: EpochProof) -> bool:
        """Is this the end of an epoch in another past? Who left long ago can sign one: its validators are not ours."""
        height = proof.boundary.height
        return self._marks.covers(height) and self._marks.block_at(height) != proof_block(proof)

    def close(self, certificate: Certificate) -> EpochStart | None:
        """End the certificate's epoch, if the state after its boundary block is the node's; else return None."""
        chain = self._chain
        if chain.head_id != certificate.block or certificate.epoch != self.newest.epoch:
            return None
        if chain.height != boundary_height(certificate.epoch, self._blocks):
            return None
        proof = make_epoch_proof(chain.view, chain.head, certificate)
        self._world.store.certificates.keep_epoch(certificate.epoch, encode(proof))
        return self._learn(proof)

    def _learn(self, proof: EpochProof) -> EpochStart:
        self._engine.sets.put(proof.next_set)
        return EpochStart(proof.next_set, proof.boundary, proof.certificate)
