"""What a device shows the verifiers of an audited update, and whether it is honest work.

The update's payload ends with the root of a tree over its states, each behind 32 secret bytes. Asked for segments, the
device opens for each the state before, the state after and the rows it goes over, and the last state, from which the
payload follows. A verifier repeats the segments bit for bit.

What this proves: the work was done on the committed rows, up to the segments that were not opened. Not that the rows
are real. What it shows the verifiers: those rows, and states from which more may be learnt.

Rules of this file: pure; ``find_fault`` is total on any bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.hashing import digest
from chain.ids import Hash, HashField, Natural
from chain.merkle import Inclusions, MerkleTree
from fl.audit.rows import Blocks, CommittedRows, decode_blocks, row_salt
from fl.audit.trace import AuditedTraining
from fl.dataset import Dataset, SparseData
from fl.errors import DivergenceError, PayloadError
from fl.plan.schema import Audit

_DOMAIN_STATE_SALT: Final = b"fedchain/audit-state-salt"
ROOT_BYTES: Final = 32
"""What an audited update's payload has at its end."""
_MAX_PROOF: Final = 64
Salt = Annotated[bytes, Meta(min_length=32, max_length=32)]
Proof = Annotated[tuple[HashField, ...], Meta(max_length=_MAX_PROOF)]


class OpenedState(Record):
    """A state of the training with its way to the committed root."""

    salt: Salt
    state: bytes
    proof: Proof


class OpenedBlock(Record):
    """A block of the device's rows with its way to the commitment it joined with (``fl.audit.rows``)."""

    salt: Salt
    rows: bytes
    proof: Proof


class OpenedSegment(Record):
    """A segment: the states around it and the blocks of its rows, ascending. ``before`` is None for the first."""

    number: Natural
    before: OpenedState | None
    after: OpenedState
    blocks: tuple[OpenedBlock, ...]


class Opening(Record):
    """What a device opens: the last state, and the segments asked for, ascending. ``is_sparse`` says how rows read."""

    is_sparse: bool
    last: OpenedState
    segments: tuple[OpenedSegment, ...]


# --- the device ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class CommittedStates:
    """The states of a training with the tree over them. ``secret`` is the device's, for this plan."""

    training: AuditedTraining
    task: Hash
    secret: bytes
    states: tuple[bytes, ...]
    tree: MerkleTree

    @classmethod
    def of(cls, training: AuditedTraining, task: Hash, secret: bytes, data: Dataset) -> "CommittedStates":
        """Train, and commit to every state."""
        states = tuple(training.states(data))
        tree = MerkleTree(state_salt(secret, task, number) + state for number, state in enumerate(states))
        return cls(training, task, secret, states, tree)

    def payload(self) -> bytes:
        """Return the update's payload: what the training gives, then the root. ``DivergenceError`` if it diverged."""
        return self.training.payload_of(self.states[-1]) + self.tree.root

    def open(self, committed: CommittedRows, segments: Sequence[int]) -> bytes:
        """Return the opening of these segments."""
        opened = tuple([self._open_segment(committed, number) for number in segments])
        is_sparse = isinstance(committed.data, SparseData)
        return encode(Opening(is_sparse, self._open_state(len(self.states) - 1), opened))

    def _open_state(self, number: int) -> OpenedState:
        return OpenedState(state_salt(self.secret, self.task, number), self.states[number], self.tree.proof(number))

    def _open_segment(self, committed: CommittedRows, number: int) -> OpenedSegment:
        shown = [
            OpenedBlock(row_salt(committed.secret, block), committed.block(block), committed.tree.proof(block))
            for block in committed.blocks.holding(self.training.rows_of(number)).tolist()
        ]
        before = self._open_state(number - 1) if number else None
        return OpenedSegment(number, before, self._open_state(number), tuple(shown))


def state_salt(secret: bytes, task: Hash, number: int) -> bytes:
    """Return the 32 bytes that hide a state."""
    return digest(_DOMAIN_STATE_SALT, secret, task, number.to_bytes(8, "big"))


def split_root(payload: bytes) -> tuple[bytes, Hash]:
    """Return an audited update's payload without the root, and the root. ``PayloadError`` if it is too short."""
    if len(payload) < ROOT_BYTES:
        raise PayloadError(f"payload of {len(payload)} bytes; the root of its states alone has {ROOT_BYTES}")
    return payload[:-ROOT_BYTES], Hash(payload[-ROOT_BYTES:])


# --- the verifier ----------------------------------------------------------------------------------------------------


def find_fault(
    policy: Audit,
    training: AuditedTraining,
    commitment: Hash,
    payload: bytes,
    asked: Sequence[int],
    opening: bytes,
) -> str | None:
    """Return what is wrong with the opening of an update, or None if the opened work is honest, bit for bit.

    ``commitment`` is the rows' root from enrolment, ``payload`` the update's, ``asked`` the segments to open.
    """
    try:
        core, root = split_root(payload)
        shown = decode(opening, Opening, max_bytes=len(opening))
        if [segment.number for segment in shown.segments] != list(asked):
            return f"segments {list(asked)} were asked for; {[segment.number for segment in shown.segments]} are open"
        last = training.segment_count - 1
        states = Inclusions(root, training.segment_count)
        committed = Inclusions(commitment, len(Blocks.of(training.samples, training.problem.plan.training.order)))
        if not _is_committed(shown.last, states, last):
            return "the last state is not the committed one"
        if training.payload_of(shown.last.state) != core:
            return "the payload does not follow from the last state"
        for segment in shown.segments:
            fault = _find_segment_fault(policy, training, committed, states, shown.is_sparse, segment)
            if fault is not None:
                return f"segment {segment.number}: {fault}"
    except (CodecError, PayloadError, DivergenceError) as error:
        return str(error)
    return None


def _is_committed(opened: OpenedState, states: Inclusions, number: int) -> bool:
    return states.holds(opened.state, number, opened.proof, salt=opened.salt)


def _find_segment_fault(
    policy: Audit,
    training: AuditedTraining,
    committed: Inclusions,
    states: Inclusions,
    is_sparse: bool,
    segment: OpenedSegment,
) -> str | None:
    number, before = segment.number, training.first_state
    if number and segment.before is None:
        return "the state before it is not open"
    if segment.before is not None:
        if not number or not _is_committed(segment.before, states, number - 1):
            return "the state before it is not the committed one"
        before = segment.before.state
    if not _is_committed(segment.after, states, number):
        return "the state after it is not the committed one"
    places = training.rows_of(number)
    blocks = Blocks.of(training.samples, training.problem.plan.training.order)
    numbers = blocks.holding(places)
    if len(segment.blocks) != numbers.size:
        return f"{len(segment.blocks)} blocks of rows are open; its rows are in {numbers.size}"
    for block, opened in zip(numbers.tolist(), segment.blocks, strict=True):
        if not committed.holds(opened.rows, block, opened.proof, salt=opened.salt):
            return f"block {block} of the rows is not the committed one"
    shown = [opened.rows for opened in segment.blocks]
    whole = decode_blocks(shown, blocks.rows_in_each(numbers), training.problem.features, is_sparse=is_sparse)
    if training.run_segment(before, whole, blocks.within(places, numbers)) != segment.after.state:
        return "its work does not give the committed state"
    if training.phase == 1:
        limit = float(policy.segment_clip) ** 2
        if not training.displacement_squared(before, segment.after.state) <= limit:
            return f"it moved further than verification.audit.segment_clip = {policy.segment_clip}"
    return None
