"""The FL plan: what a learning problem is, as the chain stores it.

A plan is a versioned union by ``kind``: ``horizontal`` (same features, different samples; paper §II.C.1) and
``statistics`` (how often the values of one column occur). Parts that come in several forms (features, labels,
algorithms, policies, privacy, aggregation, compression) are tagged unions, so a new form is a new record and never a
new meaning. Real numbers are exact decimals (``Number``).

Format 2 adds sections at the end; a plan of format 1 is encoded without them, as it was before they existed, so
that its id stays. What is new is allowed in format 2 alone, and format 2 by chains whose rules know it
(``LEARNING_RULES``).

Rules of this file: shapes only. What combinations make sense is ``fl.plan.validate``'s; how people write a
plan is ``fl.plan.parse``'s.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from chain.codec import Record, decode, encode
from chain.hashing import DOMAIN_PLAN, digest
from chain.ids import AccountField, AmountField, Hash, HashField, Natural, ShortText
from chain.number import Number
from chain.statement import MAX_MEASUREMENT_BYTES
from chain.transaction import MAX_PLAN_BYTES
from fl.plan.statistics import Column, Counting, LocalReports, Statistic

MAX_COORDINATES = 1 << 24
MAX_MEMBERS = 16
"""Most members of a committee."""
MAX_KEY_BYTES = 1 << 15
"""A committee's key: a modulus, and for each member an element to verify it by and a sealed share."""
MAX_OWN_KEYS_BYTES = 1 << 16
"""The keys of a committee's members: for each a modulus, eight numbers as wide, a signature."""
Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Text = Annotated[str, Meta(max_length=4000)]


# --- the data each role brings -------------------------------------------------------------------


class NumericFeature(Record, tag="numeric"):
    """A number between public bounds, scaled to [-1, 1] around their middle.

    ``out_of_range``: clip to the bounds or refuse the row's file. ``missing``: refuse, or "indicator": the value
    becomes ``fill`` and a second coordinate says 1.
    """

    name: ShortText
    lower: Number
    upper: Number
    out_of_range: Literal["clip", "refuse"]
    missing: Literal["refuse", "indicator"]
    fill: Number


class CategoricalFeature(Record, tag="categorical"):
    """One of the listed texts, one-hot; a missing value is all zeros with ``missing`` = "zeros"."""

    name: ShortText
    categories: tuple[ShortText, ...]
    missing: Literal["refuse", "zeros"]


class VectorFeature(Record, tag="vector"):
    """``size`` unnamed numbers, clipped to public bounds and divided by the larger |bound| so that zeros stay zero.

    0 lies within the bounds. The natural form of an NPZ array, an image or a LIBSVM file (index 1 is coordinate 0).
    """

    name: ShortText
    size: Annotated[int, Meta(ge=1, le=MAX_COORDINATES)]
    lower: Number
    upper: Number


Feature = NumericFeature | CategoricalFeature | VectorFeature


class ClassLabel(Record, tag="classes"):
    """The column to predict, one of the listed classes; texts that are numbers compare as numbers."""

    name: ShortText
    classes: tuple[ShortText, ...]


class NumericLabel(Record, tag="number"):
    """The number to predict, between public bounds, scaled to [-1, 1] like a numeric feature."""

    name: ShortText
    lower: Number
    upper: Number


class CountedLabel(ClassLabel, tag="counted"):
    """A column whose values are counted. It stands in no plan: a plan of kind ``statistics`` reads its files by it."""

    other: Literal["refuse", "count"]


class Role(Record):
    """A kind of participant and the schema of the table it holds."""

    name: ShortText
    features: tuple[Feature, ...]
    label: ClassLabel | NumericLabel


class CountingRole(Role):
    """A role that reads one column, to be counted."""

    label: CountedLabel


# --- what is learnt ------------------------------------------------------------------------------


class Layer(Record):
    """A dense hidden layer."""

    units: Annotated[int, Meta(ge=1, le=65536)]
    activation: Literal["tanh", "relu"]


class Model(Record):
    """Hidden dense layers (maybe none), then an output whose type names its loss.

    linear: squared error ½(ŷ−y)²; logistic: log-loss of two classes; softmax: cross-entropy of the classes.
    ``l2`` adds ½·l2·‖w‖² to every sample's loss, intercepts and biases left out. ``seed`` draws the first weights
    of networks; models without hidden layers start at zero.
    """

    type: Literal["linear", "logistic", "softmax"]
    hidden: tuple[Layer, ...]
    intercept: bool
    l2: Number
    seed: Natural


# --- how it is learnt ----------------------------------------------------------------------------


class FedSvrg(Record, tag="fedsvrg"):
    """Federated SVRG (paper Algorithm 1): step size h (h_k = h/n_k), S and A scaling on or off."""

    step: Number
    scale_gradients: bool
    scale_aggregate: bool


class FedAvg(Record, tag="fedavg"):
    """Federated averaging (McMahan et al. 2017): local SGD epochs over batches, mean by samples."""

    step: Number
    epochs: Annotated[int, Meta(ge=1, le=1000)]
    batch: Annotated[int, Meta(ge=1, le=2**31)]


class Dane(Record, tag="dane"):
    """DANE (Shamir et al. 2014): local subproblem with eta and mu, solved by SVRG passes of step h/n_k."""

    step: Number
    eta: Number
    mu: Number
    passes: Annotated[int, Meta(ge=1, le=1000)]


AlgorithmSpec = FedSvrg | FedAvg | Dane


# --- who takes part, and when ---------------------------------------------------------------------


class Participation(Record):
    """How many devices, with how many samples.

    Enrolment closes at ``max_devices`` or its deadline and needs ``min_devices``. A round selects
    ``goal_devices`` · ``over_select_percent`` / 100 (all enrolled, if fewer) and closes its reveal step at the goal.
    A phase settles with at least ``min_devices`` updates, or is retried up to ``retries`` times a round.
    """

    min_devices: Count
    goal_devices: Count
    max_devices: Count
    over_select_percent: Annotated[int, Meta(ge=100, le=1000)]
    min_samples: Count
    max_samples: Count
    retries: Annotated[int, Meta(ge=0, le=100)]


class Deadlines(Record):
    """Blocks each step may last, and how deep a task must be before a device works on it (1 = in the head)."""

    enrol_blocks: Annotated[int, Meta(ge=1, le=10**6)]
    reveal_blocks: Annotated[int, Meta(ge=1, le=10**6)]
    open_blocks: Annotated[int, Meta(ge=1, le=10**6)]
    confirmations: Annotated[int, Meta(ge=1, le=10**4)]


# --- verification, privacy, aggregation -----------------------------------------------------------


class Bounds(Record, tag="bounds"):
    """Shape, range and norms. Gradient sums: ‖·‖₂ ≤ n_k·sample_clip; updates: ‖·‖₂ ≤ update_clip. Always present."""

    sample_clip: Number
    update_clip: Number


class Timing(Record, tag="timing"):
    """Counts at most ``samples_per_second`` · reported time; reported time over what the chain saw pass refuses."""

    samples_per_second: Annotated[int, Meta(ge=1, le=10**12)]


class Holdout(Record, tag="holdout"):
    """Quality on a public set, committed as ``chunks`` salted chunks under ``root``; one is opened a round.

    Each has ``rows`` rows. An update whose loss on the chunk exceeds the loss before it by ``tolerance`` (a ratio)
    or more is refused; quality falls linearly from 1 (no worse) to 0 (at the tolerance).
    """

    root: HashField
    chunks: Annotated[int, Meta(ge=1, le=10**5)]
    rows: Annotated[int, Meta(ge=1, le=10**6)]
    tolerance: Number


class Audit(Record, tag="audit"):
    """Random segments of a training opened to verifiers, on committed rows, and repeated by them bit for bit.

    ``percent`` of the updates are audited, ``openings`` segments of each, by ``verifiers`` miners of whom more than
    half must approve within ``blocks``. ``segment_clip`` bounds how far a segment may move the model. The verifiers see
    the opened rows and states.
    """

    percent: Annotated[int, Meta(ge=1, le=100)]
    openings: Annotated[int, Meta(ge=1, le=64)]
    verifiers: Annotated[int, Meta(ge=1, le=15)]
    blocks: Annotated[int, Meta(ge=2, le=10**6)]
    segment_clip: Number


class Replay(Record, tag="replay"):
    """Whole trainings repeated bit for bit by the miners who attest them, from data that each device publishes.

    ``source`` "open": the data as they are, so everybody may read every row for ever. For public data. "randomised":
    each row under local differential privacy of ``epsilon`` (0 with "open"), charged once, as the device joins. For
    ``dispute_blocks`` after the reveals anybody may dispute an update, for a ``deposit``: every node repeats it.
    """

    source: Literal["open", "randomised"]
    dispute_blocks: Annotated[int, Meta(ge=1, le=10**6)]
    deposit: AmountField
    epsilon: Number = Number(0, 0)


class Commit(Record, tag="commit"):
    """A step before each phase's reveals: devices put a commitment to their update on the chain, then reveal that.

    It lasts until all selected devices have committed, or ``blocks``.
    """

    blocks: Annotated[int, Meta(ge=1, le=10**6)]


class Pace(Record, tag="pace"):
    """Reported times compared with the round's own: a device may be ``ratio`` times as fast as the median.

    Of a faster one as many samples count as its time can have processed at that pace ("less"), or none ("refuse").
    """

    ratio: Annotated[int, Meta(ge=1, le=10**6)]
    outliers: Literal["less", "refuse"]


Policy = Bounds | Timing | Holdout | Audit | Replay | Commit | Pace


class Verification(Record):
    """The plan's policies, each at most once, and how many miners must attest an update (0 … 16)."""

    policies: tuple[Policy, ...]
    attestations: Annotated[int, Meta(ge=0, le=16)]


class NoPrivacy(Record, tag="none"):
    """Updates are released without noise; their privacy loss is unbounded and recorded as such."""


class Gaussian(Record, tag="gaussian"):
    """Discrete Gaussian noise on every release; a release loses 1/(2 · multiplier²) zCDP.

    ``unit``: whose presence it hides, a row's ("record") or a device's with all its rows ("device"). ``multiplier``:
    sigma = multiplier · sensitivity. ``budget``: the most a device may lose under the plan, micro-zCDP; 0 = what the
    plan can cost at worst.
    """

    unit: Literal["record", "device"]
    multiplier: Number
    budget: Natural


class SummedGaussian(Record, tag="gaussian-sum"):
    """Gaussian noise that only a sum of encrypted updates carries: each device adds a part of it.

    ``multiplier``: sigma of the sum's noise = multiplier · sensitivity, if it comes from min_devices − ``colluders``
    devices: of those that reveal, so many may pool what they know. ``unit`` and ``budget`` as under Gaussian noise.
    """

    unit: Literal["record", "device"]
    multiplier: Number
    colluders: Count
    budget: Natural


class Laplace(Record, tag="laplace"):
    """Discrete Laplace noise on every release: pure ``epsilon`` each, which is at most epsilon²/2 zCDP.

    ``unit`` and ``budget`` as under Gaussian noise; the budget is in micro-zCDP too.
    """

    unit: Literal["record", "device"]
    epsilon: Number
    budget: Natural


Privacy = NoPrivacy | Gaussian | SummedGaussian | Laplace


class PlainAggregation(Record, tag="plain"):
    """Updates travel in the clear and are combined by ``rule``."""

    rule: Literal["mean"]


class Median(Record, tag="median"):
    """The median of each coordinate over the devices, each counted once (Yin et al. 2018)."""


class TrimmedMean(Record, tag="trimmed-mean"):
    """The mean of each coordinate without the largest and the smallest ``percent`` of the devices' values."""

    percent: Annotated[int, Meta(ge=1, le=49)]


class MultiKrum(Record, tag="multi-krum"):
    """The mean of the updates nearest to their neighbours, ``percent`` of them left out (Blanchard et al. 2017)."""

    percent: Annotated[int, Meta(ge=1, le=49)]


class NormClip(Record, tag="norm-clip"):
    """The mean of updates cut to ``percent`` of the median length (Sun et al. 2019)."""

    percent: Annotated[int, Meta(ge=1, le=10_000)]


class Paillier(Record, tag="paillier"):
    """Updates are encrypted; their sum is decrypted by ``threshold`` of a committee, and everybody checks it.

    ``key`` (``fl.secure.paillier.PublicKey``) names the members and holds their sealed shares; the owner deals it.
    ``value_bits``: of a weighted coordinate, its sign included, as it is encrypted. ``cohort`` "open" joins whoever
    wants, so updates carry noise; of "known" devices the owner says that none of them is many.
    """

    threshold: Annotated[int, Meta(ge=1, le=MAX_MEMBERS)]
    value_bits: Annotated[int, Meta(ge=8, le=48)]
    decrypt_blocks: Annotated[int, Meta(ge=1, le=10**6)]
    cohort: Literal["open", "known"]
    key: Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)]


class PaillierOwn(Record, tag="paillier-own"):
    """As "paillier", with no dealer: each member made a key of its own, and devices share values between the keys.

    ``key`` (``fl.secure.paillier.member.MemberKeys``) holds what each member shows of its key, signed by its account.
    """

    threshold: Annotated[int, Meta(ge=1, le=MAX_MEMBERS)]
    value_bits: Annotated[int, Meta(ge=8, le=48)]
    decrypt_blocks: Annotated[int, Meta(ge=1, le=10**6)]
    cohort: Literal["open", "known"]
    key: Annotated[bytes, Meta(max_length=MAX_OWN_KEYS_BYTES)]


class Masked(Record, tag="masks"):
    """Updates under masks that cancel out in their sum (Bonawitz et al. 2017); devices help where one drops out.

    ``threshold_percent`` of the selected devices, rounded up, can take off what drop-outs leave, and no fewer can.
    ``value_bits`` and ``cohort`` as under "paillier".
    """

    threshold_percent: Annotated[int, Meta(ge=51, le=100)]
    value_bits: Annotated[int, Meta(ge=8, le=48)]
    share_blocks: Annotated[int, Meta(ge=1, le=10**6)]
    decrypt_blocks: Annotated[int, Meta(ge=1, le=10**6)]
    cohort: Literal["open", "known"]


RobustRule = Median | TrimmedMean | MultiKrum | NormClip
Committee = Paillier | PaillierOwn
"""The ways to encrypt that have members of a committee decrypt sums."""
Encryption = Committee | Masked
Aggregation = PlainAggregation | Median | TrimmedMean | MultiKrum | NormClip | Paillier | PaillierOwn | Masked
MEANS: Final = (PlainAggregation, Paillier, PaillierOwn, Masked)
"""The ways to combine that need a phase's sum alone."""


class NoCompression(Record, tag="none"):
    """Updates travel as full vectors."""


class Support(Record, tag="support"):
    """A device sends what concerns the features its rows have; of all others every device's part is the same.

    ``features`` is the most that one update may name: what settling may cost follows from it.
    """

    features: Annotated[int, Meta(ge=1, le=MAX_COORDINATES)]


class TopK(Record, tag="top-k"):
    """A device sends the largest coordinates of all that it has learnt and not sent yet (Lin et al. 2018).

    ``keep``: the share of the coordinates that an update says, after ``warm_up`` rounds that say more. ``momentum``
    (0 to below 1) gathers on the device. ``clip`` bounds what a device learns in a round by clip/√N, N the devices of
    a round (0: no more than update_clip does). ``bits``: what travels of a value besides its sign, to the power of two
    that suits the update; the rest stays on the device.
    """

    keep: Number
    momentum: Number
    warm_up: Annotated[int, Meta(ge=0, le=10**6)]
    clip: Number
    bits: Annotated[int, Meta(ge=1, le=54)]


Compression = NoCompression | Support | TopK


class Rewards(Record):
    """Coins escrowed for the whole plan: a pool for devices, one for verifying miners; each round gets its share."""

    devices: AmountField
    miners: AmountField


class Stopping(Record):
    """At most ``rounds``; earlier when the norm of the global gradient falls to ``gradient_norm`` (0 = never)."""

    rounds: Annotated[int, Meta(ge=1, le=10**6)]
    gradient_norm: Number


class Training(Record):
    """How a device goes through its rows.

    ``order`` of a pass: "full" draws any permutation; "blocks" permutes blocks of rows, then the rows of each, which
    reads memory in order. ``segment``: steps after which a pass has a checkpoint that an audit can begin at (0: none).
    """

    order: Literal["full", "blocks"]
    segment: Count


class BySamples(Record, tag="samples"):
    """The devices' share of a round goes by counted samples × quality."""


class LeaveOneOut(Record, tag="leave-one-out"):
    """The share goes by what each update spared the opened chunk: the loss without it less the loss with it.

    No device gets more than ``cap_percent`` of what its samples are of all. What is not earned stays in the escrow.
    """

    cap_percent: Annotated[int, Meta(ge=100, le=100_000)]


class Shapley(Record, tag="shapley"):
    """The share goes by Shapley values on the opened chunk (Shapley 1953; sampled as by Ghorbani and Zou 2019).

    ``permutations`` orders are drawn, each walked forwards and backwards. A walk is cut where the loss is within
    ``tolerance`` (a ratio of what the whole round moved it) of the end's; 0: never. ``cap_percent`` as above.
    """

    permutations: Annotated[int, Meta(ge=1, le=1000)]
    tolerance: Number
    cap_percent: Annotated[int, Meta(ge=100, le=100_000)]


RewardRule = BySamples | LeaveOneOut | Shapley


class NoAttestation(Record, tag="none"):
    """Any registered device may join."""


class ByRegistrar(Record, tag="registrar"):
    """Devices join with a statement about them that one of these registrars has signed (``chain.statement``).

    ``kinds`` of statement that will do; ``measurements`` of which it must carry one, any if there are none.
    """

    registrars: tuple[AccountField, ...]
    kinds: tuple[ShortText, ...]
    measurements: tuple[Annotated[bytes, Meta(max_length=MAX_MEASUREMENT_BYTES)], ...]


Attestation = NoAttestation | ByRegistrar


class HorizontalPlan(Record, tag="horizontal"):
    """A plan for participants with the same features and different samples."""

    version: Annotated[int, Meta(ge=1, le=2)]
    title: ShortText
    description: Text
    nonce: Natural
    roles: tuple[Role, ...]
    model: Model
    algorithm: AlgorithmSpec
    participation: Participation
    deadlines: Deadlines
    verification: Verification
    privacy: Privacy
    aggregation: Aggregation
    compression: Compression
    rewards: Rewards
    stopping: Stopping
    fraction_bits: Annotated[int, Meta(ge=8, le=48)]
    training: Training = Training("full", 0)
    contribution: RewardRule = BySamples()
    attestation: Attestation = NoAttestation()


class StatisticsPlan(Record, tag="statistics"):
    """A plan that asks how often each value of one column occurs, each row being ε-locally private.

    ``attestations``: miners who must attest a device's reports, as under ``verification`` elsewhere. The sections that
    a plan of this kind has no choice in are properties: what runs plans finds them where it finds those of others.
    """

    version: Annotated[int, Meta(ge=2, le=2)]
    title: ShortText
    description: Text
    nonce: Natural
    column: Column
    statistic: Statistic
    participation: Participation
    deadlines: Deadlines
    attestations: Annotated[int, Meta(ge=0, le=16)]
    rewards: Rewards
    attestation: Attestation

    @property
    def roles(self) -> tuple[Role, ...]:
        """One role, that reads one column."""
        return (CountingRole("device", (), CountedLabel(self.column.name, self.column.values, self.column.other)),)

    @property
    def model(self) -> Model:
        """No model: its parameters are the counters (``fl.plan.dimensions.parameter_count``)."""
        return Model("linear", (), False, _ZERO, 0)

    @property
    def algorithm(self) -> Counting:
        """One exchange, in which devices answer a ``count`` task."""
        return Counting()

    @property
    def verification(self) -> Verification:
        """What counters can't be is refused; nothing else of them can be known."""
        return Verification((Bounds(_ONE, _ONE),), self.attestations)

    @property
    def privacy(self) -> LocalReports:
        """Each row is reported at random on its device."""
        return LocalReports(self.statistic.epsilon)

    @property
    def aggregation(self) -> PlainAggregation:
        """Counters add up."""
        return PlainAggregation("mean")

    @property
    def compression(self) -> NoCompression:
        """All counters travel."""
        return NoCompression()

    @property
    def stopping(self) -> Stopping:
        """One round."""
        return Stopping(1, _ZERO)

    @property
    def fraction_bits(self) -> int:
        """Counters are whole numbers."""
        return 0

    @property
    def training(self) -> Training:
        """Rows are gone through once; in which order is no matter."""
        return Training("full", 0)

    @property
    def contribution(self) -> BySamples:
        """Devices are paid by rows."""
        return BySamples()


_ZERO: Final = Number(0, 0)
_ONE: Final = Number(1, 0)
Plan = HorizontalPlan | StatisticsPlan
LATER_SECTIONS: Final = ("training", "contribution", "attestation")
"""Sections of format 2; plans of format 1 have them as they are by default."""
LATER_KINDS: Final = (
    Median,
    TrimmedMean,
    MultiKrum,
    NormClip,
    Support,
    TopK,
    Audit,
    Replay,
    Commit,
    Pace,
    Paillier,
    PaillierOwn,
    Masked,
    Gaussian,
    SummedGaussian,
    Laplace,
)
"""Forms of older sections that plans of format 2 alone may name."""
LEARNING_RULES: Final = 3
"""The rules version from which on a chain takes plans of format 2."""
_ANY_PLAN: Final[type[Plan]] = Plan  # type: ignore[assignment]  # a union is what ``decode`` takes for it


def encode_plan(plan: Plan) -> bytes:
    """Return the plan's canonical bytes, as they stand on the chain. Format 1 ends before ``LATER_SECTIONS``."""
    if isinstance(plan, StatisticsPlan) or plan.version > 1:
        return encode(plan)
    sections = plan.__struct_fields__[: -len(LATER_SECTIONS)]
    return encode((plan.__struct_config__.tag, *[getattr(plan, name) for name in sections]))


def decode_plan(data: bytes) -> Plan:
    """Return the plan that canonical bytes hold; ``chain.errors.CodecError`` if they hold none."""
    return decode(data, _ANY_PLAN, MAX_PLAN_BYTES, encode_plan)


def plan_id(plan: Plan) -> Hash:
    """Return the plan's id: the digest of its canonical bytes under the plan domain."""
    return digest(DOMAIN_PLAN, encode_plan(plan))
