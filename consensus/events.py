"""What a block did, told to those who watch: records for logs, WebSocket topics and the nodes' roles.

Events follow from the block and change nothing: they are not under any root. Within a block they stand in
the order in which things happened.
"""

from chain.codec import Record
from chain.ids import AccountField, AmountField, HashField, HeightField, Natural, ShortText


class Transferred(Record, tag="transferred"):
    """Coins moved between accounts."""

    sender: AccountField
    to: AccountField
    amount: AmountField


class DeviceRegistered(Record, tag="device.registered"):
    """An account became a device."""

    device: AccountField


class BudgetLowered(Record, tag="device.budget_lowered"):
    """A device lowered its lifetime privacy budget to this, in micro-zCDP."""

    device: AccountField
    budget: Natural


class MinerRegistered(Record, tag="miner.registered"):
    """An account bonded coins to verify updates."""

    miner: AccountField
    bond: AmountField


class MinerRetired(Record, tag="miner.retired"):
    """A miner left and got its bond back."""

    miner: AccountField
    bond: AmountField


class StakeBonded(Record, tag="stake.bonded"):
    """A validator added coins to its stake, which is ``stake`` now."""

    validator: AccountField
    amount: AmountField
    stake: AmountField


class UnbondingStarted(Record, tag="stake.unbonding"):
    """Coins left a stake or a miner's bond; the block at height ``due`` pays them."""

    account: AccountField
    amount: AmountField
    due: HeightField


class UnbondingPaid(Record, tag="stake.paid"):
    """Coins that had left a bond came to their account."""

    account: AccountField
    amount: AmountField


class ValidatorJailed(Record, tag="stake.jailed"):
    """A validator missed too many turns in a row; from block ``free_from`` on it may leave jail."""

    validator: AccountField
    missed: Natural
    free_from: HeightField


class ValidatorUnjailed(Record, tag="stake.unjailed"):
    """A validator left jail."""

    validator: AccountField


class ValidatorSlashed(Record, tag="stake.slashed"):
    """A validator was shown to have broken the protocol: what it lost, and who got which part of it."""

    validator: AccountField
    offence: ShortText
    amount: AmountField
    reporter: AccountField
    reward: AmountField


class EpochEnded(Record, tag="epoch.ended"):
    """The last block of an epoch chose the next one's validators: how many, and their power together."""

    epoch: Natural
    validators: Natural
    power: Natural


class DevicePermitted(Record, tag="device.permitted"):
    """A registrar allowed a device to register."""

    device: AccountField
    registrar: AccountField


class PlanSubmitted(Record, tag="plan.submitted"):
    """A plan stands on the chain and enrols devices until ``deadline``."""

    plan: HashField
    owner: AccountField
    escrow: AmountField
    deadline: HeightField


class DeviceJoined(Record, tag="plan.joined"):
    """A device enrolled; ``enrolled`` counts it."""

    plan: HashField
    device: AccountField
    samples: Natural
    enrolled: Natural


class TaskOpened(Record, tag="task.opened"):
    """A phase asks its selected devices for updates until ``deadline``."""

    plan: HashField
    task: HashField
    round: Natural
    attempt: Natural
    phase: Natural
    selected: Natural
    deadline: HeightField


class AuditOpened(Record, tag="audit.opened"):
    """An audited device opened what it was asked for, to its verifiers."""

    plan: HashField
    task: HashField
    device: AccountField


class AuditReported(Record, tag="audit.reported"):
    """A verifier repeated what a device opened and says whether it is honest work."""

    plan: HashField
    task: HashField
    device: AccountField
    miner: AccountField
    approves: bool
    reason: ShortText


class DisputeOpened(Record, tag="dispute.opened"):
    """Somebody says that an update is not what its training gives; ``deposit`` is what that costs who is wrong."""

    plan: HashField
    task: HashField
    device: AccountField
    disputer: AccountField
    deposit: AmountField


class DisputeDecided(Record, tag="dispute.decided"):
    """Every node repeated a disputed update. ``reward``: what the disputer got beside its deposit, if it was right."""

    plan: HashField
    task: HashField
    device: AccountField
    disputer: AccountField
    is_true: bool
    reward: AmountField


class MinerSlashed(Record, tag="miner.slashed"):
    """A miner attested a false update; ``is_registered`` says whether what is left of its bond is enough to go on."""

    miner: AccountField
    plan: HashField
    amount: AmountField
    is_registered: bool


class UpdateCommitted(Record, tag="update.committed"):
    """A device committed to its update for the open task; ``committed`` counts them."""

    plan: HashField
    task: HashField
    device: AccountField
    committed: Natural


class MaskShared(Record, tag="update.shared"):
    """A device shared what the masks of its update for the open task are made of; ``shared`` counts them."""

    plan: HashField
    task: HashField
    device: AccountField
    shared: Natural


class SumDecrypted(Record, tag="plan.decrypted"):
    """A helper gave its part of what decrypts the open task's sum; ``parts`` counts them."""

    plan: HashField
    task: HashField
    helper: AccountField
    parts: Natural


class UpdateRevealed(Record, tag="update.revealed"):
    """A block carries a device's update for the open task."""

    plan: HashField
    task: HashField
    update: HashField
    device: AccountField
    revealed: Natural


class StepOpened(Record, tag="step.opened"):
    """A task moved on to another step (``open``, ``settle``) until ``deadline`` (0: none)."""

    plan: HashField
    task: HashField
    step: ShortText
    deadline: HeightField


class HoldoutOpened(Record, tag="holdout.opened"):
    """The owner revealed a chunk of the plan's holdout set."""

    plan: HashField
    round: Natural
    chunk: Natural


class UpdateRefused(Record, tag="update.refused"):
    """An update that had been revealed was refused when its phase settled: not aggregated, not paid."""

    plan: HashField
    task: HashField
    device: AccountField
    reason: str


class PhaseSettled(Record, tag="phase.settled"):
    """A phase's updates were combined; loss (fixed point) where this phase tells it."""

    plan: HashField
    task: HashField
    round: Natural
    phase: Natural
    accepted: Natural
    refused: Natural
    loss: int | None


class RewardPaid(Record, tag="reward.paid"):
    """A device or a miner was paid for its part in a settled round. ``role``: "device" or "miner"."""

    plan: HashField
    round: Natural
    account: AccountField
    role: ShortText
    amount: AmountField


class RoundSettled(Record, tag="round.settled"):
    """A round is settled: the plan has a new global model with this content id."""

    plan: HashField
    round: Natural
    model: HashField
    loss: int | None
    devices: Natural


class RoundRetried(Record, tag="round.retried"):
    """An attempt at a round had too few updates; ``attempt`` is the one that follows."""

    plan: HashField
    round: Natural
    attempt: Natural
    reason: ShortText


class PlanFinished(Record, tag="plan.finished"):
    """A plan is done; ``refund`` went back to its owner."""

    plan: HashField
    rounds: Natural
    reason: ShortText
    refund: AmountField


class PlanCancelled(Record, tag="plan.cancelled"):
    """A plan ended before its time; ``refund`` went back to its owner."""

    plan: HashField
    rounds: Natural
    reason: ShortText
    refund: AmountField


StakeEvent = (
    StakeBonded
    | UnbondingStarted
    | UnbondingPaid
    | ValidatorJailed
    | ValidatorUnjailed
    | ValidatorSlashed
    | EpochEnded
    | DevicePermitted
)
"""What happens on chains with validators alone."""
LedgerEvent = (
    Transferred
    | DeviceRegistered
    | BudgetLowered
    | MinerRegistered
    | MinerRetired
    | PlanSubmitted
    | DeviceJoined
    | TaskOpened
    | UpdateCommitted
    | MaskShared
    | SumDecrypted
    | UpdateRevealed
    | StepOpened
    | HoldoutOpened
    | AuditOpened
    | AuditReported
    | DisputeOpened
    | DisputeDecided
    | MinerSlashed
    | UpdateRefused
    | PhaseSettled
    | RewardPaid
    | RoundSettled
    | RoundRetried
    | PlanFinished
    | PlanCancelled
    | StakeEvent
)
