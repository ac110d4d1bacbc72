"""What a job is asked to do: records that name their input by content, so that two of them compare.

A job reads the world (the store, the payloads, the device's data) and changes nothing; what comes of it is a
record of ``node.jobs.results``.
"""

from chain.block import Header
from chain.codec import Record
from chain.ids import AccountField, HashField, MillisField, Natural, ShortText
from chain.update import AttestedUpdate, LocalUpdate, PrivacyCharge
from consensus.snapshot import Prefix
from fl.task import Task
from node.poolentry import PoolSnapshot


class ExecuteBranch(Record, tag="execute-branch"):
    """Undo these connected blocks (the tip first), then apply these (in order), all on the state at ``base``."""

    base: HashField
    undo: tuple[HashField, ...]
    blocks: tuple[HashField, ...]


class BuildBlock(Record, tag="build-block"):
    """Fill a block on ``parent`` from what waits; ``engine``, ``time_ms`` as ``Engine.prepare`` says.

    Which transactions of ``pool`` it holds is the job's choice (``node.poolselect``), and so is which of the updates'
    attestations it takes.

    Where the parent is not the head: ``undo`` these connected blocks (the head first), then ``apply`` these, of which
    the last is the parent.
    """

    parent: HashField
    producer: AccountField
    time_ms: MillisField
    engine: bytes
    pool: PoolSnapshot
    updates: tuple[AttestedUpdate, ...]
    undo: tuple[HashField, ...] = ()
    apply: tuple[HashField, ...] = ()


class SealBlock(Record, tag="seal-block"):
    """Find the seal of a header, in so many threads. ``max_hashrate`` is in hashes a second; 0 = as fast as they go."""

    header: Header
    max_hashrate: Natural
    threads: Natural = 1


class VerifyUpdates(Record, tag="verify-updates"):
    """Check local updates against their plans' inclusion policies on the state at ``head``."""

    head: HashField
    time_ms: MillisField
    updates: tuple[LocalUpdate, ...]


class InspectData(Record, tag="inspect-data"):
    """Read the device's data under a plan's role and count it. ``plan`` is the plan's canonical bytes."""

    plan: bytes
    role: ShortText


class NamedPayload(Record):
    """A device's payload, by its content id."""

    device: AccountField
    payload: HashField


class ShareSecrets(Record, tag="share-secrets"):
    """Make what this device shares for a task, before updates are masked. ``devices`` is the task's cohort."""

    plan: bytes
    task: HashField
    devices: tuple[AccountField, ...]


class DecryptPart(Record, tag="decrypt-part"):
    """Make this account's part of what decrypts the sum of a task's updates, in draw order.

    ``parts``: what other helpers have given on the chain. ``subject`` and ``name``: what it pledges itself to before
    the part leaves (``node.roles.helper``).
    """

    plan: bytes
    task: HashField
    devices: tuple[AccountField, ...]
    shares: tuple[NamedPayload, ...]
    updates: tuple[NamedPayload, ...]
    parts: tuple[NamedPayload, ...]
    subject: HashField
    name: HashField


class TrainTask(Record, tag="train-task"):
    """Do one phase's local training. ``plan``, ``model`` and ``carry`` are bytes as the state holds them.

    ``settled``: the task of the device's last release that settled, where the plan's devices keep a residual.
    ``devices``, ``shares``: the cohort, and what its devices have shared, where updates are encrypted.
    ``shared``, ``samples``: the randomised copy of its rows that the device has published, which it trains on then.
    """

    plan: bytes
    role: ShortText
    task: Task
    device: AccountField
    model: bytes
    carry: bytes
    settled: HashField | None = None
    devices: tuple[AccountField, ...] = ()
    shares: tuple[NamedPayload, ...] = ()
    shared: HashField | None = None
    samples: Natural = 0


class OpenSegments(Record, tag="open-segments"):
    """Open these segments of the training for a task, sealed for these readers."""

    plan: bytes
    role: ShortText
    task: Task
    device: AccountField
    model: bytes
    carry: bytes
    segments: tuple[Natural, ...]
    readers: tuple[AccountField, ...]


class VerifyOpening(Record, tag="verify-opening"):
    """Repeat what an audited device opened. ``release`` is its update's id; the last ids but one are payloads'.

    ``first``: the payload of its update in the round's first phase, None in that phase itself.
    """

    plan: bytes
    task: Task
    device: AccountField
    samples: Natural
    commitment: HashField
    model: bytes
    carry: bytes
    release: HashField
    update: HashField
    first: HashField | None
    opening: HashField
    segments: tuple[Natural, ...]


class RepeatTraining(Record, tag="repeat-training"):
    """Repeat a training from the data that its device shares. ``release`` is the update's id.

    ``update`` and ``shared`` are the ids of its payload and of the shared data; ``plan``, ``model`` and ``carry`` bytes
    as the state holds them.
    """

    plan: bytes
    task: Task
    device: AccountField
    samples: Natural
    model: bytes
    carry: bytes
    release: HashField
    update: HashField
    shared: HashField


class FindStamp(Record, tag="find-stamp"):
    """Find the proof-of-work stamp of a device's registration."""

    chain_id: ShortText
    device: AccountField
    bits: Natural


class OpenChunk(Record, tag="open-chunk"):
    """Read one chunk of the owner's holdout set, with its salt and proof. ``plan`` is the plan's canonical bytes."""

    plan: bytes
    chunk: Natural


class CheckPiece(Record, tag="check-piece"):
    """Check ``data``, the subtree that ``asked`` asked for, against the root of the state."""

    root: HashField
    asked: Prefix
    data: bytes


class CallRoll(Record, tag="call-roll"):
    """Read on the state at ``head`` who of the fleet is registered, and how each stands to these plans."""

    head: HashField
    plans: tuple[HashField, ...]


class InspectFleet(Record, tag="inspect-fleet"):
    """Read the fleet's rows under a plan's role and count each device's. ``plan`` is the plan's canonical bytes."""

    plan: bytes
    role: ShortText


class FleetSeat(Record):
    """A device of the fleet that is asked for an update: its place, the samples it enrolled with, what it signs.

    ``settled``: the task of its last release that settled, under plans whose devices keep a residual; else None.
    """

    place: Natural
    samples: Natural
    charge: PrivacyCharge
    settled: HashField | None


class TrainFleet(Record, tag="train-fleet"):
    """Do one phase's local training of a batch of the fleet's devices, and sign what each releases."""

    plan: bytes
    role: ShortText
    task: Task
    model: bytes
    carry: bytes
    seats: tuple[FleetSeat, ...]


class FindStamps(Record, tag="find-stamps"):
    """Find the stamps of the registrations of many devices."""

    chain_id: ShortText
    devices: tuple[AccountField, ...]
    bits: Natural


JobSpec = (
    CheckPiece
    | CallRoll
    | InspectFleet
    | TrainFleet
    | FindStamps
    | ExecuteBranch
    | BuildBlock
    | SealBlock
    | VerifyUpdates
    | InspectData
    | TrainTask
    | ShareSecrets
    | DecryptPart
    | OpenSegments
    | VerifyOpening
    | RepeatTraining
    | FindStamp
    | OpenChunk
)
