"""The defences: plans of version 2 that differ in what they verify and how they combine updates.

Rules of this file: a defence is what a plan's owner could write. Clips follow the advice of docs/plans.md: twice what
honest devices need, found by training without attackers on rows of another seed.
"""

from dataclasses import dataclass
from typing import Final

from attacks.world import HOLDOUT_CHUNKS, HOLDOUT_ROWS, Setting, Split, World
from bench.data import SCHEMAS
from chain.hashing import DOMAIN_HOLDOUT, digest
from fl.holdout import HoldoutSet
from fl.plan.bind import bind_holdout
from fl.plan.parse import parse_draft
from fl.plan.schema import ClassLabel, Plan, VectorFeature

ROUNDS: Final = 12
SEGMENT: Final = 30
"""Steps of a segment: a device of 300 rows has ten, of which an audit opens two: a fifth of its work."""
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


DEFENCES: Final = (
    Defence("none", "no bound that anybody meets, the mean by samples", tight=False),
    Defence("bounds", "norms at most twice those of honest devices"),
    Defence("timing", "bounds, and paid samples capped by the reported time", ("timing",)),
    Defence("holdout", "bounds, and the loss on an opened chunk of public rows", ("holdout",)),
    Defence("audit", "bounds, and two of ten segments repeated, every update", ("audit",)),
    Defence("replay", "bounds, and every training repeated on published rows", ("replay",)),
    Defence("median", "bounds, and the median of each coordinate", rule="median"),
    Defence("trimmed-mean", "bounds, and the mean without 30 % at each end", rule="trimmed-mean"),
    Defence("multi-krum", "bounds, and the 70 % of vectors nearest to each other", rule="multi-krum"),
    Defence("norm-clip", "bounds, and vectors cut to the median length", rule="norm-clip"),
    Defence("combined", "timing, holdout, audit and the median", ("timing", "holdout", "audit"), "median"),
    Defence("combined-clip", "timing, holdout, audit and norm-clip", ("timing", "holdout", "audit"), "norm-clip"),
    Defence("open", "timing, holdout, replay and the median", ("timing", "holdout", "replay"), "median"),
)
BY_NAME: Final = {defence.name: defence for defence in DEFENCES}

_POLICIES: Final = {
    "timing": f"[verification.timing]\nsamples_per_second = {SAMPLES_PER_SECOND}",
    "holdout": (
        f'[verification.holdout]\nfile = "public"\nchunks = {HOLDOUT_CHUNKS}\nrows = {HOLDOUT_ROWS}\n'
        "tolerance = {tolerance}"
    ),
    "audit": "[verification.audit]\npercent = 100\nopenings = 2\nverifiers = 3\nsegment_clip = {segment_clip}",
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


LEARNING: Final[dict[tuple[Setting, Split], Learning]] = {
    ("mnist", "iid"): Learning(_SOFTMAX, _svrg(2), "2.5", "3", "0.3", "0.2"),
    ("mnist", "two-digits"): Learning(_SOFTMAX, _svrg(1), "10", "2", "0.3", "0.5"),
}


def write_plan(setting: Setting, split: Split, defence: Defence, most_rows: int) -> str:
    """Return the plan's TOML."""
    learning = LEARNING[setting, split]
    schema = SCHEMAS["a9a" if setting == "a9a" else "mnist"].role
    label, feature = schema.label, schema.features[0]
    assert isinstance(label, ClassLabel)
    assert isinstance(feature, VectorFeature)
    classes = ", ".join(f'"{name}"' for name in label.classes)
    clips = (learning.sample_clip, learning.update_clip) if defence.tight else ("1000", "1000")
    parts = [
        f'version = 2\ntitle = "{setting}, {split}, {defence.name}"',
        f'[[roles]]\nlabel = {{ name = "y", classes = [{classes}] }}',
        f'features = [{{ name = "x", size = {feature.size}, lower = 0, upper = {feature.upper} }}]',
        f"[model]\n{learning.model}",
        f"[algorithm]\n{learning.algorithm}",
        f"[participation]\nmin_devices = 5\nmax_devices = 20\nmax_samples = {3 * most_rows}\nretries = 2",
        f"[verification]\nattestations = {int('replay' in defence.verification)}",
        f"[verification.bounds]\nsample_clip = {clips[0]}\nupdate_clip = {clips[1]}",
        *[
            _POLICIES[name].format(tolerance=learning.tolerance, segment_clip=learning.segment_clip)
            for name in defence.verification
        ],
        _RULES[defence.rule],
        f"[rewards]\ndevices = 12000000\n[stopping]\nrounds = {ROUNDS}",
        f"[training]\nsegment = {SEGMENT}" if "audit" in defence.verification else "",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def make_plan(world: World, defence: Defence) -> tuple[Plan, HoldoutSet | None]:
    """Return the defence's plan for a world, with the holdout set that its owner keeps."""
    most = max(data.y.size for data in world.devices.values())
    draft = parse_draft(write_plan(world.setting, world.split, defence, most))
    bound = bind_holdout(draft, world.public, digest(DOMAIN_HOLDOUT, b"owner", world.seed))
    return bound.plan, bound.holdout
