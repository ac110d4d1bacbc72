"""What the ledger remembers: the records under the state's keys.

Money stands in four places: balances, the funds of plans (escrow), the bonds of miners, and ``Supply``, which
adds them up. Everything of a plan that grows with its devices stands under a key for each device, so that
one update changes a few small records. Amounts are in the smallest coin unit, heights in blocks, privacy loss
in micro-zCDP.

Rules of this file: shapes only. Which keys hold them is ``consensus.statekeys``', what may happen to them
``consensus.rules``'.
"""

from typing import Annotated, Literal

from msgspec import Meta

from chain.codec import Record
from chain.ids import AccountField, Amount, AmountField, HashField, HeightField, MillisField, Natural, ShortText
from chain.payload import PayloadRef
from fl.task import Task

Status = Literal["enrolling", "running", "finished", "cancelled"]
PPM = 10**6
"""A quality of 1, in parts per million."""


# --- accounts, devices, miners, money -------------------------------------------------------------


class Account(Record):
    """An account: its coins and the nonce its next transaction must carry."""

    balance: AmountField
    nonce: Natural


class Device(Record):
    """A registered device.

    ``privacy_total`` is the largest signed cumulative loss the chain has seen of it, ``lifetime_budget`` its bound
    (0: none); both in micro-zCDP.
    """

    registered: HeightField
    lifetime_budget: Natural
    privacy_total: Natural


class Reservation(Record):
    """What a device may still lose under a plan that it joined, and what it has lost under it; micro-zCDP."""

    plan: HashField
    left: Natural
    spent: Natural


class PrivacyAccount(Record):
    """What the chain has charged a device; in micro-zCDP but for ``epsilon``. Who joined no private plan has none.

    charged        the losses of all updates of it that blocks carried; ``Device.privacy_total`` also has what it signed
    joined         the losses of what it published by joining
    epsilon        its pure ε so far in 10^-6; None once something was released that has none
    charges        how many ``PrivacyCharged`` there are
    lowered        the block that lowered its lifetime budget last (0: none did)
    reservations   of the plans it joined, in that order; one counts while its plan is enrolling or running
    """

    charged: Natural
    joined: Natural
    epsilon: Natural | None
    charges: Natural
    lowered: HeightField
    reservations: tuple[Reservation, ...]


class PrivacyCharged(Record):
    """One charge, kept for ever. ``total``: the device's whole loss after it; ``phase`` None: joining the plan.

    ``loss`` and ``total`` in micro-zCDP, ``epsilon`` in 10^-6, None if the mechanism is not pure.
    """

    height: HeightField
    time_ms: MillisField
    plan: HashField
    round: Natural
    phase: Natural | None
    mechanism: ShortText
    loss: Natural
    epsilon: Natural | None
    total: Natural


class Miner(Record):
    """A registered miner and the coins it bonds."""

    registered: HeightField
    bond: AmountField


class Accounts(Record):
    """An ordered list of accounts: the registered miners by id, or a task's selected devices in draw order."""

    accounts: tuple[AccountField, ...]


class Supply(Record):
    """Where all coins are, after every block: ``minted`` = ``circulating`` + ``escrowed`` + ``bonded``.

    circulating: all balances; escrowed: the funds of all plans; bonded: the bonds of all miners, the stakes of all
    validators, and what leaves them.
    """

    minted: AmountField
    circulating: AmountField
    escrowed: AmountField
    bonded: AmountField


# --- plans ----------------------------------------------------------------------------------------


class Funds(Record):
    """A plan's escrow by purpose.

    devices, miners   what is left of the two reward pools
    fees              for the producers who include joins and updates
    work              for the producers whose blocks settle phases
    spare             what the owner escrowed beyond the need
    """

    devices: AmountField
    miners: AmountField
    fees: AmountField
    work: AmountField
    spare: AmountField

    @property
    def total(self) -> Amount:
        """Return the plan's escrow."""
        return Amount(self.devices + self.miners + self.fees + self.work + self.spare)


class PlanEntry(Record):
    """A plan's standing. Its canonical bytes, its model and its open task stand under their own keys.

    enrol_deadline   the last block that can carry a join
    rounds           settled rounds, also the number of the round in progress
    cancelling       the owner has cancelled: the plan ends when the attempt in progress does
    join_fee …       prices frozen when the plan was submitted; ``work_price`` is for 10**6 work units
    closed           the block that finished or cancelled it (0 before), ``reason`` why
    """

    plan: HashField
    owner: AccountField
    status: Status
    submitted: HeightField
    enrol_deadline: HeightField
    enrolled: Natural
    samples: Natural
    rounds: Natural
    cancelling: bool
    funds: Funds
    join_fee: AmountField
    update_fee: AmountField
    work_price: AmountField
    closed: HeightField
    reason: ShortText


class Link(Record):
    """A plan's neighbours in the ring of plans that are enrolling or running.

    The ring starts and ends at 32 zero bytes; leaving it is the same for its neighbours in whatever order plans leave.
    """

    before: HashField
    after: HashField


class Enrolment(Record):
    """A device's place in a plan: its number in order of joining and what is frozen for the plan."""

    number: Natural
    role: ShortText
    samples: Natural
    commitment: HashField
    height: HeightField


# --- the round in progress ------------------------------------------------------------------------


class RoundState(Record):
    """A running plan's open task and the step it is in.

    step            index into the phase's step table (``fl.steps``)
    opened …        block that opened the task, with its time; ``stepped``: block that opened the step
    deadline        last block of the step; the settle step has none (it waits for room under the work limit)
    goal            reveals that close the reveal step
    selected, revealed   how many devices were selected, and have revealed
    chunk_beacon    that of the block that closed the reveal step, zero before the next: names the holdout chunk to open
    """

    task: Task
    step: Natural
    opened: HeightField
    opened_ms: MillisField
    stepped: HeightField
    deadline: HeightField
    goal: Natural
    selected: Natural
    revealed: Natural
    chunk_beacon: HashField


class Seat(Record):
    """A device's position among the selected of a task; it counts only while that task is open."""

    task: HashField
    position: Natural


class RevealedUpdate(Record):
    """A local update that a block carried for the open task, under its device's position.

    ``elapsed_ms`` and ``step_blocks``: chain time and blocks from the task's opening to the update's block.
    ``credited``: the miners who attested it, or the block's producer if the plan asks for no attestation.
    """

    task: HashField
    device: AccountField
    update: HashField
    payload: PayloadRef
    samples: Natural
    computation_us: Natural
    elapsed_ms: MillisField
    step_blocks: Natural
    credited: tuple[AccountField, ...]


class Commitment(Record):
    """A device's commitment to its update for the open task, under its position.

    number       commitments to this task before it
    elapsed_ms   chain time and blocks from the task's opening to the commitment's block: the work was done by then
    vector       digest of the vector that was revealed, zero before
    """

    task: HashField
    commitment: HashField
    number: Natural
    elapsed_ms: MillisField
    step_blocks: Natural
    vector: HashField


class KnownVector(Record):
    """The digest of a vector that was revealed, and whose it is: of its first committer."""

    vector: HashField
    device: AccountField


class KnownVectors(Record):
    """What was revealed in a phase of a round, all its attempts, at the same global model; sorted by digest."""

    round: Natural
    model: HashField
    entries: tuple[KnownVector, ...]


class SharedMask(Record):
    """What the device at a position shared for the open task, for its cohort to take masks off."""

    task: HashField
    payload: PayloadRef


class Decryption(Record):
    """A helper's part of what decrypts the open task's sum."""

    task: HashField
    helper: AccountField
    payload: PayloadRef


class Opening(Record):
    """A holdout chunk that was opened for the task with this digest."""

    task: HashField
    chunk: Natural
    payload: PayloadRef


class AuditReport(Record):
    """A verifier's word on an opened update; ``reason`` is empty if it approves."""

    miner: AccountField
    approves: bool
    reason: ShortText


class UpdateAudit(Record):
    """The audit of the update at a position: what its device opened (sealed), and the reports so far."""

    task: HashField
    payload: PayloadRef
    reports: tuple[AuditReport, ...]


class Dispute(Record):
    """A dispute about the update at a position. ``deposit`` is 0 once it is decided; ``verdict`` is of the update.

    ``proof``: what the disputer says it found when it repeated the training.
    """

    task: HashField
    disputer: AccountField
    proof: HashField
    deposit: AmountField
    verdict: Literal["waiting", "true", "false"]


class DisputePlace(Record):
    """Where a dispute stands that waits to be decided."""

    plan: HashField
    position: Natural


class DisputeQueue(Record):
    """The disputes that wait, in the order in which they came."""

    entries: tuple[DisputePlace, ...]


class FirstPayload(Record):
    """The payload of a device's update in the first phase: its feature counts are what later steps are scaled by."""

    device: AccountField
    payload: PayloadRef


class FirstPayloads(Record):
    """Those of the devices whose first phase settled, for the audits of the next one."""

    entries: tuple[FirstPayload, ...]


class DeviceReport(Record):
    """What a device did in a round so far: counted samples are the least, quality (ppm) the product over its phases."""

    device: AccountField
    samples: Natural
    counted: Natural
    quality_ppm: Annotated[int, Meta(ge=0, le=PPM)]
    computation_us: Natural
    reward: AmountField


class MinerReport(Record):
    """How many samples' updates a miner verified in a round, and its reward."""

    miner: AccountField
    samples: Natural
    reward: AmountField


class Refusal(Record):
    """A device whose update was refused when its phase settled, and why."""

    device: AccountField
    phase: Natural
    reason: Annotated[str, Meta(max_length=1000)]


class RoundProgress(Record):
    """What the settled phases of an attempt leave to the next.

    Its cohort, who verified, who was refused, loss and gradient norm at the round's start (fixed point, the norm
    rounded down), and whether that norm says to stop after this round.
    """

    devices: tuple[DeviceReport, ...]
    miners: tuple[MinerReport, ...]
    refused: tuple[Refusal, ...]
    loss: int | None
    gradient_norm: int | None
    stop: bool


class RoundRecord(Record):
    """A settled round, kept for ever.

    loss      fixed-point mean training loss of the model the round started from, over its devices;
              ``gradient_norm`` likewise, rounded down; None where the algorithm does not learn them
    model     content id of the model's bytes after the round
    devices   those whose updates settled in every phase, with their rewards; ``refused``: the others that were heard
    """

    round: Natural
    attempts: Natural
    height: HeightField
    time_ms: MillisField
    loss: int | None
    gradient_norm: int | None
    model: HashField
    devices: tuple[DeviceReport, ...]
    miners: tuple[MinerReport, ...]
    refused: tuple[Refusal, ...]


class DeviceContribution(Record):
    """What a device's update of a round's last phase was worth to all (``fl.contribution``).

    value   what it spared the opened chunk, in units of 2**-24 of the loss, summed over the record's walks;
            None of a copy, and where no chunk was opened
    stands  False: the update equals an earlier one and has no part in the round's share
    """

    device: AccountField
    value: int | None
    stands: bool


class RoundContributions(Record):
    """The contributions of a round, kept for ever beside its record, of plans whose rewards go by them.

    ``walks`` over which values are summed: 1 under leave-one-out, 2 an order under Shapley; 0: no chunk was opened.
    """

    walks: Natural
    devices: tuple[DeviceContribution, ...]
