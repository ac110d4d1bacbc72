"""From a plan as written to the plan as submitted: the holdout's file becomes its commitment.

People write ``[verification.holdout] file = "holdout.csv"``, beside the plan. Its salts follow from the owner's secret
key and the rest of the plan, so that the owner can make the same set again from the same two files and needs to keep
no other secret.

Rules of this file: reads the plan and its holdout file, nothing else; the same inputs give the same plan.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from chain.hashing import DOMAIN_HOLDOUT, digest
from chain.ids import ZERO_HASH, Hash
from fl.data.sources import load_dataset
from fl.dataset import Dataset, rows
from fl.errors import DataError, PlanError, Problem
from fl.holdout import HoldoutSet, commit_holdout
from fl.plan.dimensions import holdout_policy
from fl.plan.parse import PlanDraft, parse_draft
from fl.plan.schema import Holdout, Plan, encode_plan
from fl.plan.validate import check_plan
from fl.problem import compile_problem
from fl.secure.registry import find_faults

NO_OWNER: Final = bytes(32)
"""Stands for an owner's secret where a plan is only tried out, on no chain."""


@dataclass(frozen=True, slots=True)
class BoundPlan:
    """A plan ready to be submitted, and the holdout set whose chunks its owner opens (None if the plan has none)."""

    plan: Plan
    holdout: HoldoutSet | None


def load_plan(path: Path, owner_seed: bytes = NO_OWNER, *, needs_key: bool = True) -> BoundPlan:
    """Return the plan in a TOML file, bound to the holdout file it names, which is looked for beside it.

    ``owner_seed``: the secret seed of the key that will submit the plan. ``needs_key``: must a committee's key have
    been dealt, where the plan has a committee? ``PlanError`` with all problems; ``DataError`` if a file cannot be read.
    """
    draft = read_draft(path)
    if needs_key and (faults := find_faults(compile_problem(draft.plan))):
        raise PlanError(faults)
    if draft.holdout_file is None:
        return BoundPlan(draft.plan, None)
    data = load_dataset(path.parent / draft.holdout_file, draft.plan.roles[0])
    return bind_holdout(draft, data, holdout_secret(owner_seed, draft.plan))


def read_draft(path: Path) -> PlanDraft:
    """Return the plan in a TOML file. ``PlanError`` with all problems; ``DataError`` if the file cannot be read."""
    return parse_draft(read_plan_text(path), str(path))


def read_plan_text(path: Path) -> str:
    """Return a plan file's text; ``DataError`` if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: byte {error.start} is not UTF-8 text") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def bind_holdout(draft: PlanDraft, dataset: Dataset, secret: bytes) -> BoundPlan:
    """Return the plan with its holdout's root, and the set. ``PlanError`` if the rows don't make the plan's chunks."""
    spec = holdout_policy(draft.plan)
    if spec is None:
        return BoundPlan(draft.plan, None)
    if rows(dataset) // spec.chunks != spec.rows:
        fits = f"{rows(dataset)} rows in {spec.chunks} chunks make {rows(dataset) // spec.chunks} rows each"
        raise PlanError(
            [Problem("verification.holdout.rows", str(spec.rows), f"does not fit {draft.holdout_file}: {fits}")]
        )
    held = commit_holdout(dataset, spec.chunks, secret)
    plan = with_root(draft.plan, held.root)
    problems = check_plan(plan)
    if problems:
        raise PlanError(problems)
    return BoundPlan(plan, held)


def holdout_secret(owner_seed: bytes, plan: Plan) -> bytes:
    """Return the secret a plan's holdout salts follow from: the same before and after the root is filled in."""
    return digest(DOMAIN_HOLDOUT, b"secret", owner_seed, encode_plan(with_root(plan, ZERO_HASH)))


def with_root(plan: Plan, root: Hash) -> Plan:
    """Return the plan with this root in its holdout policy."""
    policies = tuple(
        replace(policy, root=root) if isinstance(policy, Holdout) else policy for policy in plan.verification.policies
    )
    return replace(plan, verification=replace(plan.verification, policies=policies))
