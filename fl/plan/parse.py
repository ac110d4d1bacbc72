"""Plans as people write them: TOML in, a ``Plan`` out, or every problem at once.

The TOML form differs from the schema in three places. Policies are tables under ``[verification]``; a holdout may
name its ``file`` in place of the ``root`` (``fl.plan.bind`` computes it); features that differ only in their names may
share one table with ``names = [...]``.

Rules of this file: text to plan, nothing read from disk; never another exception than ``PlanError``.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Final

from msgspec import inspect
from msgspec.structs import replace

from chain.codec import Record
from chain.ids import ZERO_HASH
from chain.number import Number
from fl.errors import PlanError, Problem
from fl.plan.checks import feature_path
from fl.plan.fields import POLICY_KINDS, REQUIRED
from fl.plan.read import BAD, Bad, Reader, allowed_by, fields_of, suggestion
from fl.plan.schema import (
    Bounds,
    ClassLabel,
    Deadlines,
    FedSvrg,
    Holdout,
    HorizontalPlan,
    Model,
    NoAttestation,
    NoCompression,
    NoPrivacy,
    NumericFeature,
    Participation,
    PlainAggregation,
    Plan,
    Rewards,
    Role,
    StatisticsPlan,
    Stopping,
    Verification,
)
from fl.plan.statistics import Column, OptimalLocalHashing
from fl.plan.validate import MAX_PROBLEMS, check_record, plan_rules

MAX_TEXT: Final = 4 << 20
"""Longest TOML text that is looked at, in characters."""


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """A plan as written. With ``holdout_file`` set, its holdout root is still zero (``fl.plan.bind`` fills it in)."""

    plan: Plan
    holdout_file: str | None


def parse_plan(text: str) -> Plan:
    """Return the plan a TOML text holds. ``PlanError`` with all its problems; a holdout must give its root."""
    draft = parse_draft(text)
    if draft.holdout_file is not None:
        allowed = "gives no root yet; it is computed from the file when the plan is bound (fl.plan.bind) or submitted"
        raise PlanError([Problem("verification.holdout.file", repr(draft.holdout_file), allowed)])
    return draft.plan


def parse_draft(text: str, source: str = "plan") -> PlanDraft:
    """Return the plan a TOML text holds, its holdout bound or not. ``PlanError`` with all its problems.

    ``source`` is what a text that is no TOML is called: the file it came from.
    """
    document = _load(text, source)
    gathering = _Gathering()
    reader = Reader(
        {
            (Role, "features"): _read_features,
            (HorizontalPlan, "verification"): gathering.read_verification,
        },
        gathering.check,
    )
    kind = _read_kind(reader, document)
    plan = _read_plan(reader, document, kind)
    problems = reader.problems + gathering.problems
    if problems:
        raise PlanError(sorted(problems, key=lambda problem: _order(kind, problem.field))[:MAX_PROBLEMS])
    return PlanDraft(plan, gathering.holdout_file)


def _load(text: str, source: str) -> dict[str, object]:
    if len(text) > MAX_TEXT:
        raise PlanError([Problem(source, f"{len(text)} characters", f"must be at most {MAX_TEXT}")])
    try:
        text.encode()
        return tomllib.loads(text.removeprefix("\ufeff"), parse_float=Decimal)
    except (ValueError, DecimalException) as error:
        raise PlanError([Problem(source, "", f"is not TOML: {str(error)[:200]}")]) from None
    except RecursionError:
        raise PlanError([Problem(source, "", "is not TOML that can be read: nested too deeply")]) from None


class _Gathering:
    """What reading finds beside the records: problems of meaning, and the holdout's file name."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.holdout_file: str | None = None

    def check(self, record: Record, path: str) -> None:
        """Apply a record's own rules; a root that a file will give is not missed."""
        bound = replace(record, root=_ANY_ROOT) if isinstance(record, Holdout) and self.holdout_file else record
        self.problems.extend(check_record(bound, path))

    def read_verification(self, reader: Reader, value: object, path: str) -> Verification | Bad:
        """Return the policies' tables in the plan's order of policies."""
        if not isinstance(value, Mapping):
            missing = value is REQUIRED
            return reader.refuse(path, value, "is missing; must be a table" if missing else "must be a table")
        whole = reader.known(value, ["attestations", *POLICY_KINDS], path)
        policies: list[object] = []
        for name, kind in POLICY_KINDS.items():
            if name in value:
                policies.append(self._read_policy(reader, kind, value[name], f"{path}.{name}"))
        rest = {key: value[key] for key in value if key == "attestations"}
        read = reader.record(Verification, rest | {"policies": []}, path)
        if not isinstance(read, Verification) or not whole or BAD in policies:
            return BAD
        return replace(read, policies=tuple(policies))

    def _read_policy(self, reader: Reader, kind: type[Record], value: object, path: str) -> object:
        if not isinstance(value, Mapping):
            return reader.refuse(path, value, "must be a table")
        if kind is not Holdout or "file" not in value:
            return reader.record(kind, value, path)
        file, bad = value["file"], False
        if "root" in value:
            bad = True
            reader.refuse(f"{path}.root", value["root"], f"contradicts {path}.file; give one of the two")
        if not isinstance(file, str) or not file:
            bad = True
            reader.refuse(f"{path}.file", file, "must be the name of the holdout's data file")
        self.holdout_file = file if isinstance(file, str) and file else "?"
        unbound = {key: value[key] for key in value if key not in ("file", "root")} | {"root": ZERO_HASH.hex()}
        read = reader.record(kind, unbound, path)
        return BAD if bad else read


_ANY_ROOT: Final = bytes([1]) * 32


def _read_features(reader: Reader, value: object, path: str) -> object:
    """Return a role's features, tables with ``names`` spread out, problems named by the feature."""
    role = path.removesuffix(".features")
    kind = fields_of(Role)["features"]
    assert isinstance(kind, inspect.VarTupleType)
    if not isinstance(value, list):
        return reader.refuse(path, value, f"{'is missing; ' if value is REQUIRED else ''}must be an array of tables")
    features: list[object] = []
    for place, table in enumerate(value):
        if not isinstance(table, Mapping):
            features.append(reader.refuse(f"{path}[{place}]", table, f"must be {allowed_by(kind.item_type)}"))
            continue
        names = table.get("names")
        if names is None:
            features.append(reader.value(kind.item_type, table, feature_path(role, place, table.get("name"))))
        else:
            features.extend(_spread(reader, kind.item_type, table, names, feature_path(role, place, None)))
    return BAD if BAD in features else tuple(features)


def _spread(reader: Reader, kind: inspect.Type, table: Mapping[str, object], names: object, path: str) -> list[object]:
    """Return one feature for each of ``names``; the first is read and stands for all."""
    fits = isinstance(names, list) and names and all(isinstance(name, str) and len(name) <= 200 for name in names)
    if not fits or "name" in table:
        allowed = "contradicts name; give one of the two" if "name" in table else "must be an array of names"
        return [reader.refuse(f"{path}.names", names, allowed)]
    assert isinstance(names, list)
    rest = {key: value for key, value in table.items() if key != "names"}
    first = reader.value(kind, rest | {"name": names[0]}, path)
    if not isinstance(first, Record):
        return [BAD]
    for place, name in enumerate(names[1:], start=1):
        if not name.strip():
            reader.refuse(f"{path}.names[{place}]", name, "must be a name, not empty")
    return [replace(first, name=name) for name in names]


def _read_kind(reader: Reader, document: dict[str, object]) -> type[Plan]:
    """Return the kind of plan that a document says it is, and take that out of it."""
    kind = document.pop("kind", "horizontal")
    if isinstance(kind, str) and kind in _SAMPLES:
        return type(_SAMPLES[kind])
    known = " or ".join(f'"{name}"' for name in _SAMPLES)
    hint = suggestion(kind, list(_SAMPLES)) if isinstance(kind, str) else ""
    reader.refuse("kind", kind, f"must be {known}{hint}")
    return HorizontalPlan


def _read_plan(reader: Reader, document: dict[str, object], kind: type[Plan]) -> Plan:
    """Return the plan, unread sections replaced by a sample's, with every rule applied that could be."""
    reader.known(document, [*fields_of(kind), "kind"], "")
    read = {name: reader.field(kind, name, document, name) for name in fields_of(kind)}
    good = {name for name, section in read.items() if section is not BAD}
    plan = replace(_SAMPLES[str(kind.__struct_config__.tag)], **{name: read[name] for name in good})
    for sections, rule in plan_rules(kind):
        if sections <= good:
            reader.problems.extend(rule(plan))
    return plan


def _order(kind: type[Plan], path: str) -> int:
    """Return where a problem's section stands in the plan, so that problems come in the order of the form."""
    section = path.split(".", 1)[0].split("[", 1)[0]
    names = list(kind.__struct_fields__)
    return names.index(section) if section in names else -1


def _horizontal_sample() -> HorizontalPlan:
    zero, one = Number(0, 0), Number(1, 0)
    feature = NumericFeature("x", zero, one, "clip", "refuse", zero)
    return HorizontalPlan(
        version=1,
        title="sample",
        description="",
        nonce=0,
        roles=(Role("device", (feature,), ClassLabel("y", ("0", "1"))),),
        model=Model("logistic", (), True, zero, 0),
        algorithm=FedSvrg(one, True, True),
        participation=Participation(1, 1, 1, 100, 1, 1, 0),
        deadlines=Deadlines(1, 2, 1, 1),
        verification=Verification((Bounds(one, one),), 0),
        privacy=NoPrivacy(),
        aggregation=PlainAggregation("mean"),
        compression=NoCompression(),
        rewards=Rewards(0, 0),  # type: ignore[arg-type]
        stopping=Stopping(1, zero),
        fraction_bits=32,
    )


def _statistics_sample() -> StatisticsPlan:
    return StatisticsPlan(
        version=2,
        title="sample",
        description="",
        nonce=0,
        column=Column("y", ("0",), "refuse"),
        statistic=OptimalLocalHashing(Number(1, 0)),
        participation=Participation(1, 1, 1, 100, 1, 1, 0),
        deadlines=Deadlines(1, 2, 1, 1),
        attestations=0,
        rewards=Rewards(0, 0),  # type: ignore[arg-type]
        attestation=NoAttestation(),
    )


_SAMPLES: Final[dict[str, Plan]] = {"horizontal": _horizontal_sample(), "statistics": _statistics_sample()}
"""By kind: stands in for sections that could not be read while the rules of the others are applied."""
