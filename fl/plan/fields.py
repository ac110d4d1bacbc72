"""The plan's fields as people meet them: what each means and what it is when nobody says.

One table serves the parser (defaults), the renderer (comments) and ``plan options``. Defaults are TOML
values, read like anything a person writes.

Rules of this file: words and defaults only; types and ranges stand in ``fl.plan.schema``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException
from typing import Final

from chain.codec import Record
from fl.plan import schema, statistics


class Required:
    """The mark of a field that has no default."""


REQUIRED: Final = Required()


@dataclass(frozen=True, slots=True)
class Derived:
    """A default computed from the other fields of the same table; ``text`` says how."""

    text: str
    compute: Callable[[Mapping[str, object]], object]


@dataclass(frozen=True, slots=True)
class Note:
    """What a field means, in one line, and its default as a TOML value (or ``REQUIRED``, or ``Derived``)."""

    meaning: str
    default: object = REQUIRED


_WIDE: Final = Context(prec=80)
"""Adds any two plan numbers exactly."""


def _middle(table: Mapping[str, object]) -> object:
    """Return the middle of a feature's bounds, so that a missing value encodes to 0; 0 where it is not used."""
    lower, upper = table.get("lower"), table.get("upper")
    if table.get("missing") != "indicator":
        return 0
    if not isinstance(lower, int | Decimal) or not isinstance(upper, int | Decimal):
        return REQUIRED
    try:
        return _WIDE.divide(_WIDE.add(Decimal(lower), Decimal(upper)), Decimal(2))
    except DecimalException:
        return REQUIRED


NOTES: Final[Mapping[type[Record], Mapping[str, Note]]] = {
    schema.HorizontalPlan: {
        "version": Note("version of the plan format; 2 has more options", 1),
        "title": Note("a short name for people"),
        "description": Note("what the plan is for, and whose data it wants", ""),
        "nonce": Note("any number; the same plan can be submitted again under another nonce", 0),
        "fraction_bits": Note("models and updates travel as whole numbers of 2^-fraction_bits", 32),
        "roles": Note("who takes part and what their tables look like: exactly one role in a horizontal plan"),
        "model": Note("what is learnt"),
        "algorithm": Note("how it is learnt"),
        "participation": Note("how many devices, with how many samples"),
        "deadlines": Note("how long each step may last, in blocks", {}),
        "verification": Note("what must hold for an update to count"),
        "privacy": Note("noise added before release", {"type": "none"}),
        "aggregation": Note("how updates travel and are combined", {"type": "plain", "rule": "mean"}),
        "compression": Note("how updates are made smaller", {"type": "none"}),
        "rewards": Note("coins escrowed when the plan is submitted, paid round by round", {}),
        "stopping": Note("when learning ends"),
        "training": Note("how a device goes through its rows (version 2)", {}),
        "contribution": Note("how a round's share is divided among its devices (version 2)", {"type": "samples"}),
        "attestation": Note("whom somebody must vouch for before it may join (version 2)", {"type": "none"}),
    },
    schema.StatisticsPlan: {
        "version": Note("version of the plan format: plans of this kind have the second", 2),
        "title": Note("a short name for people"),
        "description": Note("what the plan is for, and whose data it wants", ""),
        "nonce": Note("any number; the same plan can be submitted again under another nonce", 0),
        "column": Note("the column whose values are counted"),
        "statistic": Note("how rows are reported, each ε-locally private, and counted"),
        "participation": Note("how many devices, with how many rows"),
        "deadlines": Note("how long each step may last, in blocks", {}),
        "attestations": Note("miners who must attest a device's counters before a block takes them", 1),
        "rewards": Note("coins escrowed when the plan is submitted", {}),
        "attestation": Note("whom somebody must vouch for before it may join", {"type": "none"}),
    },
    statistics.Column: {
        "name": Note("the column's name"),
        "values": Note("the values to estimate; texts that are numbers compare as numbers"),
        "other": Note('a cell that is none of them, or missing: "refuse" the file, or "count" it', "refuse"),
    },
    statistics.CountMeanSketch: {
        "epsilon": Note("of each row, whole: no report tells two values apart by more than e^epsilon"),
        "hashes": Note("hash functions; more of them spread what other values add", 64),
        "width": Note("places of each; hashes × (width + 1) counters are sent", 256),
    },
    statistics.HadamardCountMeanSketch: {
        "epsilon": Note("of each row, whole: no report tells two values apart by more than e^epsilon"),
        "hashes": Note("hash functions; more of them spread what other values add", 64),
        "width": Note("places of each, a power of two; hashes × width counters are sent", 256),
    },
    statistics.OptimalLocalHashing: {
        "epsilon": Note("of each row, whole: no report tells two values apart by more than e^epsilon"),
    },
    statistics.RandomisedResponse: {
        "epsilon": Note("of each row, whole: no report tells two values apart by more than e^epsilon"),
    },
    schema.Role: {
        "name": Note("what a participant is called", "device"),
        "features": Note("the columns learnt from, in order"),
        "label": Note("the column to predict"),
    },
    schema.NumericFeature: {
        "name": Note("the column's name"),
        "lower": Note("public lower bound; lower … upper is scaled to -1 … 1"),
        "upper": Note("public upper bound"),
        "out_of_range": Note('"clip" to the bounds, or "refuse" the file', "clip"),
        "missing": Note('"refuse" the file, or "indicator": take ``fill`` and set a second coordinate to 1', "refuse"),
        "fill": Note("stands for a missing value", Derived("the middle of the bounds", _middle)),
    },
    schema.CategoricalFeature: {
        "name": Note("the column's name"),
        "categories": Note("the values it may have; each becomes a coordinate that is 0 or 1"),
        "missing": Note('"refuse" the file, or "zeros": no category', "refuse"),
    },
    schema.VectorFeature: {
        "name": Note("what the vector is called"),
        "size": Note("its length; index 1 of a LIBSVM file is coordinate 0"),
        "lower": Note("public lower bound, 0 or less; values are clipped, then divided by the larger |bound|"),
        "upper": Note("public upper bound"),
    },
    schema.ClassLabel: {
        "name": Note("the column's name"),
        "classes": Note("its values; the first is class 0"),
    },
    schema.NumericLabel: {
        "name": Note("the column's name"),
        "lower": Note("public lower bound; lower … upper is scaled to -1 … 1"),
        "upper": Note("public upper bound"),
    },
    schema.Model: {
        "type": Note("the output and its loss: linear (squares), logistic (two classes), softmax (classes)"),
        "hidden": Note('dense layers before the output, such as { units = 32, activation = "tanh" }', []),
        "intercept": Note("a constant added to each output (and a bias to each hidden unit)", True),
        "l2": Note("adds ½ · l2 · ‖weights‖² to every sample's loss", 0),
        "seed": Note("draws the first weights of hidden layers", 0),
    },
    schema.Layer: {
        "units": Note("its width"),
        "activation": Note("tanh or relu", "relu"),
    },
    schema.FedSvrg: {
        "step": Note("step size h; a device with n samples moves h/n for each of them"),
        "scale_gradients": Note("S: weigh a rare feature's gradient by how often this device sees it", True),
        "scale_aggregate": Note("A: weigh a coordinate's mean by how many devices know it", True),
    },
    schema.FedAvg: {
        "step": Note("step size of the local gradient descent"),
        "epochs": Note("local passes over the data in a round", 1),
        "batch": Note("samples in one step", 32),
    },
    schema.Dane: {
        "step": Note("step size h of the local SVRG passes"),
        "eta": Note("weight of the global gradient in the local problem", 1),
        "mu": Note("pull of the local problem towards the global model", 0),
        "passes": Note("local SVRG passes in a round", 3),
    },
    schema.Participation: {
        "min_devices": Note("a plan starts, and a phase settles, with at least so many devices"),
        "goal_devices": Note(
            "a step closes early with so many updates",
            Derived("max_devices", lambda table: table.get("max_devices", REQUIRED)),
        ),
        "max_devices": Note("enrolment closes at so many devices"),
        "over_select_percent": Note("a round selects this percentage of goal_devices, against drop-outs", 130),
        "min_samples": Note("a device with fewer rows cannot join", 1),
        "max_samples": Note("a device with more rows cannot join"),
        "retries": Note("times a round may be tried again after too few updates", 3),
    },
    schema.Deadlines: {
        "enrol_blocks": Note("enrolment closes after so many blocks", 60),
        "reveal_blocks": Note("devices have so many blocks to send their updates", 20),
        "open_blocks": Note("the owner has so many blocks to open a holdout chunk", 20),
        "confirmations": Note("a device works on a task this deep in the chain (1 = in the newest block)", 2),
    },
    schema.Verification: {
        "policies": Note("the checks, each a table of its own"),
        "attestations": Note("miners who must attest an update before a block takes it", 1),
    },
    schema.Bounds: {
        "sample_clip": Note("largest norm of one sample's gradient; a device's sum may have n times that"),
        "update_clip": Note("largest norm of a local update"),
    },
    schema.Timing: {
        "samples_per_second": Note("fastest believable device: counted samples ≤ this × reported seconds"),
    },
    schema.Holdout: {
        "root": Note("commitment to the public holdout set: 64 hex digits, computed from ``file`` at submission"),
        "chunks": Note("parts the set is committed in; each round opens one"),
        "rows": Note("rows in each part"),
        "tolerance": Note("an update that raises the loss on the part by this ratio is refused", Decimal("0.1")),
    },
    schema.Audit: {
        "percent": Note("of the updates that are audited", 100),
        "openings": Note("segments of an audited update that are opened", 1),
        "verifiers": Note("miners who repeat them; more than half must approve", 1),
        "blocks": Note("for opening and verifying; an update that nobody vouches for by then is refused", 20),
        "segment_clip": Note("largest norm of what one segment moves the model"),
    },
    schema.Replay: {
        "source": Note(
            "what each device publishes when it joins. open: ITS ROWS AS THEY ARE, for public data; randomised: each "
            "row under local differential privacy"
        ),
        "dispute_blocks": Note("for disputes, after the reveals; every phase waits so long", 3),
        "deposit": Note("coins that who disputes an update loses if it is true", 1_000_000),
        "epsilon": Note("of each row with its label, under source = randomised (0 = none, for open)", 0),
    },
    schema.Commit: {
        "blocks": Note("devices have so many blocks to commit to their updates before anybody reveals one", 20),
    },
    schema.Pace: {
        "ratio": Note("times as fast, a sample, as the round's median device that one may credibly be", 20),
        "outliers": Note('of a faster one: "less" counts what its time allows, "refuse" takes nothing of it', "less"),
    },
    schema.NoPrivacy: {},
    schema.Gaussian: {
        "unit": Note('whose presence the noise hides: a row\'s ("record") or a device\'s with all its rows ("device")'),
        "multiplier": Note("noise of a release over its sensitivity; each release loses 1/(2 · multiplier²) zCDP"),
        "budget": Note("most a device may lose under the plan, in micro-zCDP (0 = what it can cost at worst)", 0),
    },
    schema.SummedGaussian: {
        "unit": Note('whose presence the noise hides: a row\'s ("record") or a device\'s with all its rows ("device")'),
        "multiplier": Note("noise of the sum over its sensitivity; a release loses 1/(2 · multiplier²) zCDP"),
        "colluders": Note("of the devices that reveal, so many may pool what they know; the others' noise suffices", 0),
        "budget": Note("most a device may lose under the plan, in micro-zCDP (0 = what it can cost at worst)", 0),
    },
    schema.Laplace: {
        "unit": Note('whose presence the noise hides: a row\'s ("record") or a device\'s with all its rows ("device")'),
        "epsilon": Note("pure epsilon of each release, which loses epsilon²/2 zCDP"),
        "budget": Note("most a device may lose under the plan, in micro-zCDP (0 = what it can cost at worst)", 0),
    },
    schema.PlainAggregation: {"rule": Note("how updates are combined", "mean")},
    schema.Median: {},
    schema.TrimmedMean: {"percent": Note("of the devices left out at each end of a coordinate", 20)},
    schema.MultiKrum: {"percent": Note("of the devices taken to be hostile", 30)},
    schema.NormClip: {"percent": Note("of the median length that an update may have", 100)},
    schema.Paillier: {
        "threshold": Note("members of the committee who together can decrypt a sum, and no fewer", 2),
        "value_bits": Note("of a coordinate as it is encrypted, its sign included", 24),
        "decrypt_blocks": Note("the committee has so many blocks to decrypt a sum; then the plan ends", 50),
        "cohort": Note("open: anybody may join, so updates must carry noise; known: you know each device", "open"),
        "key": Note("the committee's key and its members, in hex, as fedchain plan deal writes it", ""),
    },
    schema.PaillierOwn: {
        "threshold": Note("members of the committee who together can decrypt a sum, and no fewer", 2),
        "value_bits": Note("of a coordinate as it is encrypted, its sign included", 24),
        "decrypt_blocks": Note("the committee has so many blocks to decrypt a sum; then the plan ends", 50),
        "cohort": Note("open: anybody may join, so updates must carry noise; known: you know each device", "open"),
        "key": Note("the keys that the members made, in hex, as fedchain plan deal --own writes them", ""),
    },
    schema.Masked: {
        "threshold_percent": Note("of the selected devices who together can take off masks, and no fewer", 67),
        "value_bits": Note("of a coordinate as it is masked, its sign included", 24),
        "share_blocks": Note("devices have so many blocks to share the secrets of their masks", 20),
        "decrypt_blocks": Note("devices have so many blocks to take off the masks; then the plan ends", 20),
        "cohort": Note("open: anybody may join, so updates must carry noise; known: you know each device", "open"),
    },
    schema.NoCompression: {},
    schema.Support: {"features": Note("the most features that one update may name; a device with more sends none")},
    schema.TopK: {
        "keep": Note("the share of the coordinates that an update says, at the end of the warm-up", Decimal("0.001")),
        "momentum": Note("gathered on the device: u = momentum · u + what was learnt (0 = none; below 1)", 0),
        "warm_up": Note("first rounds that say more: 0.25, 0.0625, … of the coordinates, a quarter each time", 4),
        "clip": Note("what a device learns in a round is cut to clip / √devices (0 = to update_clip alone)", 0),
        "bits": Note("of a value's size that travel; the rest stays on the device and is sent later", 6),
    },
    schema.Rewards: {
        "devices": Note("for the devices, in units of 10^-6 coin, divided as ``contribution`` says", 0),
        "miners": Note("for the miners who verify updates, in units of 10^-6 coin", 0),
    },
    schema.Stopping: {
        "rounds": Note("at most so many rounds"),
        "gradient_norm": Note("earlier, when the global gradient's norm falls to this (0 = never)", 0),
    },
    schema.Training: {
        "order": Note("of the rows in a pass: fully shuffled, or blocks of rows and then the rows within", "full"),
        "segment": Note("steps between two checkpoints of a pass, for audits (0 = none)", 0),
    },
    schema.BySamples: {},
    schema.NoAttestation: {},
    schema.ByRegistrar: {
        "registrars": Note("public keys, each 64 hex digits, of those who may vouch for a device"),
        "kinds": Note("kinds of statement that will do; software rests on the registrar's word alone", ["software"]),
        "measurements": Note("what the statement must say was measured, in hex: one of these (none = anything)", []),
    },
    schema.LeaveOneOut: {"cap_percent": Note("the most a device may get, of its part by samples alone", 100)},
    schema.Shapley: {
        "permutations": Note("orders of the devices that are drawn, each walked forwards and backwards", 4),
        "tolerance": Note(
            "a walk is cut this near the end, as a ratio of what the round moved the loss", Decimal("0.01")
        ),
        "cap_percent": Note("the most a device may get, of its part by samples alone", 100),
    },
}

POLICY_KINDS: Final[Mapping[str, type[schema.Policy]]] = {
    "bounds": schema.Bounds,
    "timing": schema.Timing,
    "holdout": schema.Holdout,
    "audit": schema.Audit,
    "replay": schema.Replay,
    "commit": schema.Commit,
    "pace": schema.Pace,
}
"""Policies by their table under ``[verification]``, in the order a plan lists them."""
TAG_KEYS: Final[Mapping[str, str]] = {"algorithm": "name"}
"""The key that names a union's kind where it is not ``type``."""
TAG_HINTS: Final[Mapping[str, str]] = {
    "categories": "categorical",
    "size": "vector",
    "lower": "numeric",
    "upper": "numeric",
    "classes": "classes",
}
"""Keys that tell a feature's or a label's kind when ``type`` is left out; a label with bounds is a "number"."""
