"""What comes of a job: records, so that a log of events holds them.

Every job may end ``Stale`` (the state it was asked about is no longer there), ``Cancelled``, or ``Declined``
with a reason that a person can act on (a data file that does not fit, say). Anything else that goes wrong is an
exception, and the runner's ``JobFailed``.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from chain.block import Body, Header
from chain.codec import Record
from chain.ids import AccountField, HashField, Natural, ShortText
from chain.payload import PayloadRef
from chain.update import LocalUpdate
from consensus.events import LedgerEvent
from consensus.snapshot import Prefix


class ExecutedBlock(Record):
    """A block that applied, as a commit takes it: new values, encoded undo and events, ids for the indexes.

    The job makes all of this, so that the event loop has only to write it.
    """

    id: HashField
    changes: Mapping[bytes, bytes | None]
    undo: bytes
    events: tuple[LedgerEvent, ...]
    encoded_events: bytes
    transactions: tuple[HashField, ...]
    payloads: tuple[HashField, ...]


class BrokenRule(Record):
    """The verdict on a block, an update or a transaction: the rule it breaks and how.

    ``later``: it may keep the rule in a later block (``consensus.errors.Invalid``).
    """

    id: HashField
    rule: str
    detail: str
    later: bool


class LackingPayloads(Record):
    """A block that could not be judged yet, and the payloads it needs for that."""

    id: HashField
    refs: tuple[PayloadRef, ...]


class BranchExecuted(Record, tag="branch-executed"):
    """The blocks that applied, up to the first that is invalid or lacks payloads (if any); of long ones only some.

    ``undone``: what taking the head's blocks back writes, before them.
    """

    executed: tuple[ExecutedBlock, ...]
    invalid: BrokenRule | None
    lacking: LackingPayloads | None
    undone: Mapping[bytes, bytes | None]


class BlockBuilt(Record, tag="block-built"):
    """An unsealed header, its body, and what did not get in because it breaks a rule."""

    header: Header
    body: Body
    rejected: tuple[BrokenRule, ...]


class BuildLacks(Record, tag="build-lacks"):
    """No block can be built before these payloads are here: what a phase that is due settles was lost."""

    refs: tuple[PayloadRef, ...]


class BlockSealed(Record, tag="block-sealed"):
    """The seal that was looked for."""

    seal: bytes


class UpdatesVerified(Record, tag="updates-verified"):
    """The verdicts on local updates, by their ids: those that keep every rule, those that break one.

    ``lacking`` could not be judged: their payloads are not in the store any more.
    """

    good: tuple[HashField, ...]
    broken: tuple[BrokenRule, ...] = ()
    lacking: tuple[HashField, ...] = ()


class DataInspected(Record, tag="data-inspected"):
    """How many samples the device's data hold under a plan's role, and a salted digest that commits to them.

    ``shared``: the payload that publishes them, where the plan repeats trainings (the commitment is its content id).
    ``binding``: under which it is to be kept, if it was drawn just now.
    """

    samples: Natural
    commitment: HashField
    shared: bytes = b""
    binding: HashField | None = None


class Trained(Record, tag="trained"):
    """The payload of a local update, and the microseconds its computation took.

    ``kept``: what the device keeps if the update settles; ``is_poorer``: what it should have kept of its last one is
    not here. Both only where the plan's devices keep a residual. ``mechanism``: the noise that the payload carries.
    """

    payload: bytes
    samples: Natural
    computation_us: Natural
    kept: bytes = b""
    is_poorer: bool = False
    mechanism: ShortText = "none"


class PlanRoll(Record):
    """How a fleet stands to a plan: by place the samples each device enrolled with, 0 for one that has not joined.

    ``task`` is the open one, None if there is none; ``due`` are the places of its devices whose updates no block has
    yet, ``committed`` those that have committed to theirs.
    """

    plan: HashField
    samples: tuple[Natural, ...]
    task: HashField | None
    due: tuple[Natural, ...]
    committed: tuple[Natural, ...]


class RollCalled(Record, tag="roll-called"):
    """Who of a fleet is where: ``registered`` is one byte a device, 1 or 0."""

    registered: bytes
    plans: tuple[PlanRoll, ...]


class FleetInspected(Record, tag="fleet-inspected"):
    """By place, how many samples a device's data hold under a plan's role, and a salted digest that commits to them.

    ``away``: who of the fleet can't take part in the plan, and why.
    """

    samples: tuple[Natural, ...]
    commitments: tuple[HashField, ...]
    away: tuple[tuple[Natural, str], ...]


class Keepsake(Record):
    """What a device of a fleet keeps if its release settles, and the task of the release that it goes on from.

    ``is_poorer``: what it had kept of that one was not there.
    """

    device: AccountField
    kept: bytes
    settled: HashField | None
    is_poorer: bool


class FleetTrained(Record, tag="fleet-trained"):
    """The signed updates of a batch and their payloads, side by side; ``failed``: whose training failed, and why.

    These are the batch's first devices, and nearly always all of it: who comes after them was not trained for time.
    ``kept``: what their devices keep, under plans whose devices do.
    """

    updates: tuple[LocalUpdate, ...]
    payloads: tuple[bytes, ...]
    failed: tuple[tuple[Natural, str], ...]
    kept: tuple[Keepsake, ...]


class FleetPostponed(Record, tag="fleet-postponed"):
    """Nothing was trained, and it is nobody's fault here: the workers elsewhere could not be had. To be asked again."""

    reason: str


class StampsFound(Record, tag="stamps-found"):
    """The stamps of registrations, in the order they were asked for."""

    stamps: tuple[Natural, ...]


class MessageMade(Record, tag="message-made"):
    """What this node says in a step of an encrypted sum: its shares, or its part of the decryption."""

    message: bytes


class SegmentsOpened(Record, tag="segments-opened"):
    """What an audit asked for, sealed for its verifiers."""

    sealed: bytes


class OpeningVerified(Record, tag="opening-verified"):
    """What is wrong with an audited update; empty if its opened work was repeated bit for bit."""

    fault: str


class TrainingRepeated(Record, tag="training-repeated"):
    """Whether a training that was repeated gave the update's payload bit for bit, and what it ``made``, if anything."""

    is_true: bool
    made: HashField | None


class StampFound(Record, tag="stamp-found"):
    """The stamp of a device's registration."""

    stamp: Natural


class ChunkOpened(Record, tag="chunk-opened"):
    """One holdout chunk: its rows' bytes, its salt, and the proof that ties it to the root in the plan."""

    salt: Annotated[bytes, Meta(min_length=16, max_length=32)]
    proof: tuple[HashField, ...]
    payload: bytes


class PieceChecked(Record, tag="piece-checked"):
    """A subtree of the state that is what the root says: its path and topmost node, entries to keep, large values.

    ``large`` are keys with the digests of values that are fetched apart.
    """

    prefix: Prefix
    node: bytes | None
    entries: tuple[tuple[bytes, bytes], ...]
    large: tuple[tuple[bytes, HashField], ...]


class PieceRefused(Record, tag="piece-refused"):
    """The piece is not what the root says; whoever sent it is to blame."""

    reason: str


class Declined(Record, tag="declined"):
    """The job can't be done with what it was given; ``reason`` is for the person who runs the node."""

    reason: str


class Stale(Record, tag="stale"):
    """The state moved on before the job began."""


class Cancelled(Record, tag="cancelled"):
    """The job saw that it was cancelled."""


JobResult = (
    BranchExecuted
    | BlockBuilt
    | BuildLacks
    | BlockSealed
    | UpdatesVerified
    | DataInspected
    | Trained
    | RollCalled
    | FleetInspected
    | FleetTrained
    | FleetPostponed
    | StampsFound
    | MessageMade
    | SegmentsOpened
    | OpeningVerified
    | TrainingRepeated
    | StampFound
    | ChunkOpened
    | PieceChecked
    | PieceRefused
    | Declined
    | Stale
    | Cancelled
)
