"""The defences: plans of version 2 that differ in what they verify and how they combine updates.

Rules of this file: a defence is what a plan's owner could write. Clips follow the advice of docs/plans.md: twice what
honest devices need, found by training without attackers on rows of another seed.
"""

from dataclasses import dataclass
from typing import Final

from attacks.world import HALVED, HOLDOUT_CHUNKS, HOLDOUT_ROWS, Setting, Split, World
from bench.data import SCHEMAS
from chain.hashing import DOMAIN_HOLDOUT, digest
from fl.holdout import HoldoutSet
from fl.plan.bind import bind_holdout
from fl.plan.parse import parse_draft
from fl.plan.schema import ClassLabel, Plan, VectorFeature

ROUNDS: Final = 10
SEGMENTS: Final = 10
"""Of a device with the usual rows; an audit opens two, a fifth of its work."""
SAMPLES_PER_SECOND: Final = 1000
"""The fastest believable device; honest ones do half of it."""


@dataclass(frozen=True, slots=True)
class Defence:
    """A defence's name, what of it is in the plan, and a line for readers."""

    name: str
    summary: str
    verification: tuple[str, ...] = ()
    rule: str = ""
    tight: bool = True
    pays: str = ""
    openings: int = 2


_LEFT_OUT: Final = 'type = "leave-one-out"\ncap_percent = 200'
_SHAPLEY: Final = 'type = "shapley"\npermutations = 4\ntolerance = 0\ncap_percent = 200'
_PAYING: Final = ("timing", "holdout", "commit")
_OPEN: Final = ("timing", "holdout", "replay", "commit")
_ALL: Final = ("timing", "holdout", "audit", "commit")
DEFENCES: Final = (
    Defence("none", "no bound that anybody meets, the mean by samples", tight=False),
    Defence("bounds", "norms at most twice those of honest devices"),
    Defence("timing", "bounds, and paid samples capped by the reported time", ("timing",)),
    Defence("pace", "bounds, and paid samples capped by the pace of the round's other devices", ("pace",)),
    Defence("commit", "bounds, and commitments before anybody reveals", ("commit",)),
    Defence("holdout", "bounds, and the loss on an opened chunk of public rows", ("holdout",)),
    Defence("audit", "bounds, and two of ten segments of every update repeated", ("audit",)),
    Defence("replay", "bounds, and every training repeated on published rows", ("replay",)),
    Defence("median", "bounds, and the median of each coordinate", rule="median"),
    Defence("trimmed-mean", "bounds, and the mean without 30 % at each end", rule="trimmed-mean"),
    Defence("multi-krum", "bounds, and the 70 % of vectors nearest to each other", rule="multi-krum"),
    Defence("norm-clip", "bounds, and vectors cut to the median length", rule="norm-clip"),
    Defence("leave-one-out", "timing, holdout, commit; pay by what is lost without it", _PAYING, pays=_LEFT_OUT),
    Defence("shapley", "timing, holdout, commit; pay by Shapley values", _PAYING, pays=_SHAPLEY),
    Defence("combined", "timing, holdout, audit, commit and the median", _ALL, "median"),
    Defence("combined-clip", "timing, holdout, audit, commit and norm-clip", _ALL, "norm-clip"),
    Defence("combined-5", "combined, with five of ten segments opened", _ALL, "median", openings=5),
    Defence("combined-10", "combined, with all ten opened", _ALL, "median", openings=10),
    Defence("open", "combined with replay in place of audit, for rows that may be public", _OPEN, "median"),
)
BY_NAME: Final = {defence.name: defence for defence in DEFENCES}

_POLICIES: Final = {
    "timing": f"[verification.timing]\nsamples_per_second = {SAMPLES_PER_SECOND}",
    "holdout": (
        f'[verification.holdout]\nfile = "public"\nchunks = {HOLDOUT_CHUNKS}\nrows = {HOLDOUT_ROWS}\n'
        "tolerance = {tolerance}"
    ),
    "audit": "[verification.audit]\npercent = 100\nopenings = {openings}\nverifiers = 3\nsegment_clip = {segment_clip}",
    "pace": '[verification.pace]\nratio = 2\noutliers = "less"',
    "commit": "[verification.commit]\nblocks = 10",
    "replay": '[verification.replay]\nsource = "open"',
}
_RULES: Final = {
    "": "",
    "median": '[aggregation]\ntype = "median"',
    "trimmed-mean": '[aggregation]\ntype = "trimmed-mean"\npercent = 30',
    "multi-krum": '[aggregation]\ntype = "multi-krum"\npercent = 30',
    "norm-clip": '[aggregation]\ntype = "norm-clip"\npercent = 100',
}


@dataclass(frozen=True, slots=True)
class Learning:
    """What is learnt in a setting, and the clips that fit honest devices there."""

    model: str
    algorithm: str
    sample_clip: str
    update_clip: str
    segment_clip: str
    tolerance: str


_SVRG: Final = 'name = "fedsvrg"\nstep = {step}\nscale_gradients = {scaled}\nscale_aggregate = {scaled}'
_SOFTMAX: Final = 'type = "softmax"\nl2 = 0.0005'


def _svrg(step: float, *, scaled: bool = False) -> str:
    return _SVRG.format(step=step, scaled=str(scaled).lower())


_NET: Final = 'type = "softmax"\nl2 = 0.0005\nhidden = [{ units = 16, activation = "relu" }]'
_LOGISTIC: Final = 'type = "logistic"\nl2 = 0.0005'

LEARNING: Final[dict[tuple[Setting, Split], Learning]] = {
    ("mnist", "iid"): Learning(_SOFTMAX, _svrg(10), "1.3", "7", "1.05", "0.2"),
    ("mnist", "two-digits"): Learning(_SOFTMAX, _svrg(5), "5", "4.7", "0.62", "0.5"),
    ("mnist-full", "iid"): Learning(_SOFTMAX, _svrg(30), "2.2", "12", "4", "0.2"),
    ("mnist-net", "iid"): Learning(_NET, _svrg(10), "1.2", "7", "2", "0.2"),
    ("a9a", "iid"): Learning(_LOGISTIC, _svrg(20, scaled=True), "1.8", "4.2", "1.4", "0.2"),
}


def write_plan(setting: Setting, split: Split, defence: Defence, rows: int) -> str:
    """Return the plan's TOML; ``rows`` are those of the largest honest device."""
    learning = LEARNING[setting, split]
    schema = SCHEMAS["a9a" if setting == "a9a" else "mnist"].role
    label, feature = schema.label, schema.features[0]
    assert isinstance(label, ClassLabel)
    assert isinstance(feature, VectorFeature)
    classes = ", ".join(f'"{name}"' for name in label.classes)
    size = feature.size // 4 if setting in HALVED else feature.size
    clips = (learning.sample_clip, learning.update_clip) if defence.tight else ("200", "200")
    parts = [
        f'version = 2\ntitle = "{setting}, {split}, {defence.name}"',
        f'[[roles]]\nlabel = {{ name = "y", classes = [{classes}] }}',
        f'features = [{{ name = "x", size = {size}, lower = 0, upper = {feature.upper} }}]',
        f"[model]\n{learning.model}",
        f"[algorithm]\n{learning.algorithm}",
        f"[participation]\nmin_devices = 5\nmax_devices = 20\nmax_samples = {3 * rows}\nretries = 2",
        f"[verification]\nattestations = {int('replay' in defence.verification)}",
        f"[verification.bounds]\nsample_clip = {clips[0]}\nupdate_clip = {clips[1]}",
        *[
            _POLICIES[name].format(
                tolerance=learning.tolerance, segment_clip=learning.segment_clip, openings=defence.openings
            )
            for name in defence.verification
        ],
        _RULES[defence.rule],
        f"[rewards]\ndevices = 10000000\n[stopping]\nrounds = {ROUNDS}",
        f"[training]\nsegment = {-(-rows // SEGMENTS)}" if "audit" in defence.verification else "",
        f"[contribution]\n{defence.pays}" if defence.pays else "",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def make_plan(world: World, defence: Defence) -> tuple[Plan, HoldoutSet | None]:
    """Return the defence's plan for a world, with the holdout set that its owner keeps."""
    most = max(data.y.size for data in world.devices.values())
    draft = parse_draft(write_plan(world.setting, world.split, defence, most))
    bound = bind_holdout(draft, world.public, digest(DOMAIN_HOLDOUT, b"owner", world.seed))
    return bound.plan, bound.holdout
