"""The proof-of-stake engine: who may seal which header. The rules and why they are so: docs/consensus-pos.md.

It judges headers. Which of them become final is the agreement's work (``consensus.pos.agreement``), which tells the
header tree.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from chain.block import Header
from chain.codec import encode
from chain.errors import CodecError
from chain.genesis import Genesis, PosParameters
from chain.hashing import digest
from chain.ids import Hash, Height, Millis
from consensus.engine import UNLIMITED, VALID_HEADER, HeaderVerdict, HeaderView, Prepared, SealLimits, Verdict
from consensus.header_form import find_form_fault, find_link_fault
from consensus.otherrules import judge_other_rules
from consensus.pos import vrf
from consensus.pos.fields import (
    DOMAIN_BEACON,
    SEAL_BYTES,
    PosFields,
    compute_first_mix,
    compute_mix,
    read_fields,
    seal_message,
    turn_input,
)
from consensus.pos.sets import ValidatorSets
from consensus.pos.signer import Signer
from consensus.pos.validators import ValidatorSet, epoch_of
from consensus.pos.votes import SignatureJudge, find_seal_fault
from consensus.signatures import SignatureCache

MAX_SKIPPED_VIEWS: Final = 1 << 16
"""Views that ``prepare`` looks through for one that its signer leads."""

_verify_turn = lru_cache(maxsize=4096)(vrf.verify)
"""A header is judged more than once, and by every machine of a simulation; its proof is checked once a process."""


class PosEngine:
    """Stake-weighted leaders, sealed headers, a VRF beacon. Stateless but for ``sets`` and caches of pure functions."""

    name: Final = "pos"

    def __init__(
        self, genesis: Genesis, signer: Signer | None = None, signatures: SignatureJudge | None = None
    ) -> None:
        """Make the engine of a network. Without a ``signer`` it judges and never seals.

        ``signatures`` may be shared with the agreement and with other machines of a simulation.
        """
        parameters = genesis.engine
        if not isinstance(parameters, PosParameters):
            raise ValueError(f"the network {genesis.chain_id!r} runs on proof of work")
        self.parameters: PosParameters = parameters
        self.sets = ValidatorSets(genesis)
        self._genesis = genesis
        self._signer = signer
        self._signatures: SignatureJudge = signatures or SignatureCache()
        self._first_mix = compute_first_mix(genesis)
        self._fields = lru_cache(maxsize=1024)(read_fields)

    # Judging

    def check_header(self, chain: HeaderView, header: Header, now: Millis) -> HeaderVerdict:
        """Judge a header: what it shows by itself and by the epoch's set first, then by its parent, then by the clock.

        ``ORPHAN`` without ``missing``: the set of its epoch is not known here yet.
        """
        other = judge_other_rules(self._genesis, chain, header, self._weigh_other)
        if other is not None:
            return self._or_wait(other, header)
        fault = find_form_fault(self._genesis, header)
        if fault is not None:
            return _invalid(fault)
        try:
            fields = self._fields(header)
        except CodecError as error:
            return _invalid(f"engine fields: {error}")
        epoch = epoch_of(header.height, self.parameters.epoch_blocks)
        if fields.epoch != epoch:
            return _invalid(f"epoch {fields.epoch}; height {header.height} is of epoch {epoch}")
        set = self.sets.get(epoch)
        output = b""
        if set is not None:
            fault = find_seal_fault(set, header, fields, self._signatures)
            if fault is not None:
                return _invalid(fault)
            verified = _verify_turn(header.producer, turn_input(set.seed, epoch, fields.view), fields.proof)
            if verified is None:
                return _invalid("the VRF proof is not the producer's for this view")
            output = verified
        parent = chain.header(header.parent)
        if parent is None:
            return HeaderVerdict(Verdict.ORPHAN, f"parent {header.parent.hex()} is unknown", (header.parent,))
        if set is None:
            return HeaderVerdict(Verdict.ORPHAN, f"the validators of epoch {epoch} are not known yet")
        return self._check_rules(header, parent, fields, output, now)

    def _check_rules(
        self, header: Header, parent: Header, fields: PosFields, output: bytes, now: Millis
    ) -> HeaderVerdict:
        """Judge a header that its leader sealed by the header before it."""
        fault = find_link_fault(header, parent)
        if fault is not None:
            return _invalid(fault)
        parent_view = self._parent_view(parent, fields.epoch)
        if fields.parent_view != parent_view:
            return _invalid(f"on view {fields.parent_view}; its parent is of view {parent_view}")
        if fields.mix != compute_mix(self.mix(parent), output):
            return _invalid("the mix is not the parent's moved on by the VRF's output")
        earliest = parent.time_ms + self.parameters.block_ms
        if header.time_ms < earliest:
            return _invalid(f"time {header.time_ms}; {self.parameters.block_ms} ms after its parent is {earliest}")
        latest = now + self.parameters.max_future_ms
        if header.time_ms > latest:
            retry = Millis(header.time_ms - self.parameters.max_future_ms)
            return HeaderVerdict(Verdict.FUTURE, f"time {header.time_ms} is after {latest}", (), retry)
        return VALID_HEADER

    def _or_wait(self, verdict: HeaderVerdict, header: Header) -> HeaderVerdict:
        """Return the verdict on a header under other rules; of one whose validators are not known here none is bad."""
        epoch = epoch_of(header.height, self.parameters.epoch_blocks)
        if verdict.verdict is Verdict.INVALID and epoch > self.sets.newest.epoch:
            return HeaderVerdict(Verdict.ORPHAN, f"the validators of epoch {epoch} are not known yet")
        return verdict

    def _weigh_other(self, parent: Header, header: Header) -> int:
        """Return the share of the stake of the validator that sealed this header under other rules, 0 if none did."""
        set = self.sets.get(epoch_of(header.height, self.parameters.epoch_blocks))
        if set is None or header.producer not in set or len(header.seal) != SEAL_BYTES:
            return 0
        is_sealed = self._signatures.is_signed(header.producer, header.seal, seal_message(set.seed, header))
        return set.share(header.producer) if is_sealed else 0

    def _parent_view(self, parent: Header, epoch: int) -> int:
        if parent.height == 0:
            return 0
        before = self._fields(parent)
        return before.view if before.epoch == epoch else 0

    # Making

    def prepare(self, chain: HeaderView, parent: Hash, now: Millis) -> Prepared:
        """Return the fields and time of a candidate on ``parent`` in the next view that the signer leads.

        ``KeyError`` for an unknown parent. ``ValueError`` without a signer, without the epoch's set, or if the signer
        leads none of the next ``MAX_SKIPPED_VIEWS`` views. A validator knows its view: ``prepare_view``.
        """
        header, epoch, set = self._site(chain, parent)
        signer = self._require_signer()
        first = self._parent_view(header, epoch) + 1
        for view in range(first, first + MAX_SKIPPED_VIEWS if signer.account in set else first):
            if set.leader(view) == signer.account:
                return self.prepare_view(chain, parent, view, now)
        raise ValueError(f"{signer.account.hex()} leads no view of epoch {epoch} soon")

    def prepare_view(self, chain: HeaderView, parent: Hash, view: int, now: Millis) -> Prepared:
        """Return the fields and time of the signer's candidate on ``parent`` in ``view``, which it must lead.

        The time is now, or ``block_ms`` after the parent if that is later. Errors as ``prepare``.
        """
        header, epoch, set = self._site(chain, parent)
        signer = self._require_signer()
        if set.leader(view) != signer.account:
            raise ValueError(f"view {view} of epoch {epoch} is led by {set.leader(view).hex()}")
        proof = signer.prove(turn_input(set.seed, epoch, view))
        fields = PosFields(
            epoch=epoch,
            view=view,
            parent_view=self._parent_view(header, epoch),
            proof=proof,
            mix=compute_mix(self.mix(header), vrf.compute_output(proof)),
        )
        return Prepared(encode(fields), Millis(max(now, header.time_ms + self.parameters.block_ms)))

    def _site(self, chain: HeaderView, parent: Hash) -> tuple[Header, int, ValidatorSet]:
        """Return the parent, the epoch of a block on it and that epoch's set."""
        header = chain.header(parent)
        if header is None:
            raise KeyError(f"no header {parent.hex()} to build on")
        epoch = epoch_of(header.height + 1, self.parameters.epoch_blocks)
        set = self.sets.get(epoch)
        if set is None:
            raise ValueError(f"the validators of epoch {epoch} are not known yet")
        return header, epoch, set

    def _require_signer(self) -> Signer:
        if self._signer is None:
            raise ValueError("an engine without a signer makes no blocks")
        return self._signer

    def seal(self, header: Header, cancel: Callable[[], bool], limits: SealLimits = UNLIMITED) -> bytes | None:
        """Return the signer's signature of this header; None without a signer, if it refuses, or if cancelled."""
        set = self.sets.get(self._fields(header).epoch)
        if self._signer is None or set is None or cancel():
            return None
        return self._signer.sign_proposal(header, seal_message(set.seed, header))

    # Reading

    def fork_weight(self, header: Header) -> int:
        """Return the views this header leads its chain on by, so that a chain weighs what its last view says."""
        if header.height == 0:
            return 0
        fields = self._fields(header)
        return fields.view - fields.parent_view

    def finalized(self, chain: HeaderView, tip: Hash) -> Height:
        """Return the height up to which finality certificates, told to the tree, made this chain final."""
        return chain.decided_height(tip)

    def references(self, header: Header) -> tuple[Hash, ...]:
        """Return nothing: a header needs its parent alone."""
        return ()

    def mix(self, header: Header) -> Hash:
        """Return the beacon's state after this header; the boundary header's is the next epoch's seed."""
        return self._first_mix if header.height == 0 else self._fields(header).mix

    def beacon(self, header: Header) -> Hash:
        """Return a digest of the beacon's state: a producer can only give up its block, and with it one draw."""
        return digest(DOMAIN_BEACON, self.mix(header))


def _invalid(reason: str) -> HeaderVerdict:
    return HeaderVerdict(Verdict.INVALID, reason)
