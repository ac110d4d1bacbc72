"""How large a plan's model is, and what settling its rounds may cost.

The parameter vector is flat: for each layer in order its weight matrix row by row (inputs × units), then its
``units`` biases if the plan has intercepts. Without hidden layers there is one layer: features × outputs.

Rules of this file: counting only, in exact integers, total on every plan that decodes.
"""

from itertools import pairwise
from typing import Final

from fl.compression.schedule import most_kept
from fl.plan.remember import remembered
from fl.plan.schema import (
    MEANS,
    AlgorithmSpec,
    Audit,
    BySamples,
    CategoricalFeature,
    ClassLabel,
    Commit,
    Dane,
    Encryption,
    Feature,
    FedAvg,
    FedSvrg,
    Holdout,
    LeaveOneOut,
    MultiKrum,
    NumericFeature,
    Plan,
    Replay,
    Role,
    Shapley,
    StatisticsPlan,
    Support,
    TopK,
)
from fl.plan.statistics import (
    Counting,
    CountMeanSketch,
    HadamardCountMeanSketch,
    OptimalLocalHashing,
    RandomisedResponse,
)
from fl.secure.work import opening_cost

MAX_PARAMETERS: Final = 1 << 22
"""Most parameters of a model: a gradient with its counts (16 bytes each) then fits one payload of 64 MiB."""
SETTLE_WORK: Final = 10**6
"""Work units of what any settled phase costs. A unit is about a nanosecond of one core."""
STEP_WORK: Final = 2 * 10**5
"""Of a step that ends and another that begins."""
DEVICE_WORK: Final = 10**5
"""Of a selected device: its seat, its update's records, its reward."""
VALUE_WORK: Final = 50
"""Of reading one value of an update from the disk, its hash checked, some times over, and adding it."""
PARAMETER_WORK: Final = 4000
"""Of a coordinate settled: exact integers of any width, hashed and written, and the memory they take meanwhile."""
RANK_WORK: Final = 150
"""Of a value that a robust rule puts in order with the other devices', or compares its vector by."""
PAIR_WORK: Final = 8
"""Of a coordinate of two vectors whose distance is taken."""
REPEAT_WORK: Final = 20
"""Of a coordinate in one pass over one row, when a training is repeated."""
ROW_WORK: Final = 50
UNIT_WORK: Final = 40
"""Of an output or hidden unit on one row: an exponential, and what is made of it."""
AXES_WORK: Final = 150
"""Of a covariance's axes, by the cube of its coordinates."""
PRODUCT_WORK: Final = 2
"""Of two answers of a randomised row, multiplied."""
COALITION_WORK: Final = 10**5
"""Of a coalition whose model is formed and judged."""
COORDINATE_WORK: Final = 2000
"""Of a coordinate of its model: an exact sum of any width, and a division."""
PHASES: Final[dict[type[AlgorithmSpec] | type[Counting], int]] = {FedSvrg: 2, FedAvg: 1, Dane: 2, Counting: 1}
"""Exchanges of a round, by algorithm."""


def feature_count(role: Role) -> int:
    """Return the encoded coordinates of a role's rows: indicators and one-hots counted, the intercept not."""
    return sum(map(coordinates, role.features))


def coordinates(feature: Feature) -> int:
    """Return how many coordinates one feature becomes."""
    if isinstance(feature, NumericFeature):
        return 2 if feature.missing == "indicator" else 1
    if isinstance(feature, CategoricalFeature):
        return len(feature.categories)
    return feature.size


def output_count(plan: Plan) -> int:
    """Return the model's outputs: the number of classes for softmax, else 1."""
    label = plan.roles[0].label if plan.roles else None
    if plan.model.type == "softmax" and isinstance(label, ClassLabel):
        return len(label.classes)
    return 1


def layer_sizes(plan: Plan) -> tuple[int, ...]:
    """Return (inputs, units of each hidden layer…, outputs)."""
    inputs = feature_count(plan.roles[0]) if plan.roles else 0
    return (inputs, *(layer.units for layer in plan.model.hidden), output_count(plan))


def parameter_count(plan: Plan) -> int:
    """Return the length d of the parameter vector; of a plan that counts, the rows counted and the counters."""
    if isinstance(plan, StatisticsPlan):
        return 1 + counter_count(plan)
    biases = 1 if plan.model.intercept else 0
    return sum((inputs + biases) * units for inputs, units in pairwise(layer_sizes(plan)))


def counter_count(plan: StatisticsPlan) -> int:
    """Return the counters that a device sends (``fl.statistics``)."""
    match plan.statistic:
        case OptimalLocalHashing():
            return len(plan.column.values)
        case RandomisedResponse():
            return len(plan.column.values) + (plan.column.other == "count")
        case CountMeanSketch(hashes=hashes, width=width):
            return hashes * (width + 1)
        case HadamardCountMeanSketch(hashes=hashes, width=width):
            return hashes * width


@remembered
def holdout_policy(plan: Plan) -> Holdout | None:
    """Return the plan's holdout policy, if it has one."""
    return next((policy for policy in plan.verification.policies if isinstance(policy, Holdout)), None)


@remembered
def audit_policy(plan: Plan) -> Audit | None:
    """Return the plan's audit policy, if it has one."""
    return next((policy for policy in plan.verification.policies if isinstance(policy, Audit)), None)


@remembered
def replay_policy(plan: Plan) -> Replay | None:
    """Return the plan's replay policy, if it has one."""
    return next((policy for policy in plan.verification.policies if isinstance(policy, Replay)), None)


def randomised_policy(plan: Plan) -> Replay | None:
    """Return the plan's replay policy, if its devices share randomised rows."""
    policy = replay_policy(plan)
    return policy if policy is not None and policy.source == "randomised" else None


@remembered
def commit_policy(plan: Plan) -> Commit | None:
    """Return the plan's commit policy, if it has one."""
    return next((policy for policy in plan.verification.policies if isinstance(policy, Commit)), None)


def encryption_of(plan: Plan) -> Encryption | None:
    """Return how the plan's updates are encrypted; None if they travel in the clear."""
    return plan.aggregation if isinstance(plan.aggregation, Encryption) else None


def keeps_residual(plan: Plan) -> bool:
    """Do the plan's devices keep something of their updates from round to round?"""
    return isinstance(plan.compression, TopK)


def update_values(plan: Plan) -> int:
    """Return the most values of an update's vector: d, those of as many features as one may name, the largest few."""
    if isinstance(plan.compression, TopK):
        return most_kept(plan.compression, parameter_count(plan))
    if not isinstance(plan.compression, Support):
        return parameter_count(plan)
    inputs, units = layer_sizes(plan)[:2]
    return parameter_count(plan) - max(inputs - plan.compression.features, 0) * units


def model_bytes(plan: Plan) -> int:
    """Return the bytes of the plan's model, as the state holds it."""
    return 8 * parameter_count(plan)


def most_selected(plan: Plan) -> int:
    """Return the most devices that a task selects (over-selection, Bonawitz et al. 2019)."""
    participation = plan.participation
    wanted = -(-participation.goal_devices * participation.over_select_percent // 100)
    return min(participation.max_devices, wanted)


def opening_work(plan: Plan) -> int:
    """Return what opening one of the plan's tasks may cost, in work units: a seat for every selected device."""
    return SETTLE_WORK + DEVICE_WORK * most_selected(plan)


def settle_work(plan: Plan, phase: int | None = None) -> int:
    """Return what settling one phase may cost, in units of one sample × coordinate (docs/ledger.md).

    Opening the next task and adding up the vectors of all selected devices; in the last phase also the loss of every
    update and of the model before it on one holdout chunk. ``phase`` None: the costliest phase.
    """
    d, devices = parameter_count(plan), most_selected(plan)
    work = opening_work(plan) + VALUE_WORK * devices * update_values(plan) + PARAMETER_WORK * d + _robust_work(plan)
    encryption = encryption_of(plan)
    work += 0 if encryption is None else opening_cost(encryption, d, devices)
    holdout = holdout_policy(plan)
    if holdout is not None and (phase is None or phase == phase_count(plan) - 1):
        row = ROW_WORK + UNIT_WORK * sum(layer_sizes(plan)[1:]) + d
        work += holdout.rows * row * (devices + 1)
        coalitions = count_coalitions(plan)
        work += coalitions * (COALITION_WORK + COORDINATE_WORK * d + holdout.rows * row)
        work += VALUE_WORK * devices * d if coalitions else 0  # vectors are read again, hashed and held
    return work


def count_coalitions(plan: Plan) -> int:
    """Return the most coalitions of a round's updates that the plan's rule of rewards looks at."""
    devices = most_selected(plan)
    match plan.contribution:
        case BySamples():
            return 0
        case LeaveOneOut():
            return devices + 1
        case Shapley(permutations=permutations):
            return 2 * permutations * devices + 2


def replay_work(plan: Plan, samples: int | None = None) -> int:
    """Return what repeating one training of ``samples`` rows may cost; None: of as many as the plan allows.

    Its data are read and hashed, it passes over the rows so many times, and its vector is rounded and hashed.
    """
    count = plan.participation.max_samples if samples is None else samples
    sizes, d, algorithm = layer_sizes(plan), parameter_count(plan), plan.algorithm
    passes = 3
    if isinstance(algorithm, FedAvg):
        passes = algorithm.epochs + 1
    elif isinstance(algorithm, Dane):
        passes = 3 * algorithm.passes + 1
    row = passes * (ROW_WORK + UNIT_WORK * sum(sizes[1:]) + REPEAT_WORK * d)
    work = SETTLE_WORK + PARAMETER_WORK * d + count * (VALUE_WORK * (sizes[0] + 1) + row)
    if randomised_policy(plan) is not None:  # the covariance's axes, and rows of it
        work += AXES_WORK * (sizes[0] + 1) ** 3 + count * PRODUCT_WORK * (sizes[0] + 1) ** 2
    return work


def _robust_work(plan: Plan) -> int:
    """Return what a robust rule adds to settling a phase."""
    if isinstance(plan.aggregation, MEANS):
        return 0
    d, devices = parameter_count(plan), most_selected(plan)
    pairs = devices * (devices - 1) // 2 if isinstance(plan.aggregation, MultiKrum) else 0
    return RANK_WORK * devices * d + PAIR_WORK * pairs * d


def phase_count(plan: Plan) -> int:
    """Return the exchanges of one round of the plan's algorithm."""
    return PHASES[type(plan.algorithm)]


def plan_work(plan: Plan) -> int:
    """Return the most that settling every phase of every round, retries included, may cost."""
    attempt = sum(settle_work(plan, phase) for phase in range(phase_count(plan)))
    return plan.stopping.rounds * (1 + plan.participation.retries) * attempt
