"""Reproducing a plan: its trainings run again from the rows, every update and every global model compared bit for bit.

A chain's record of a plan names, phase by phase, which devices sent what (by content id), what was refused, and the
model each round settled. Whoever holds the rows can make all of it again: the permutation of each pass comes from the
task's digest, all arithmetic has one outcome, and what a device sends is a function of the task and its rows.

What a device sent whose rows are not at hand is taken from the record's payloads, so that the models of a plan can be
made again by somebody who holds a part of the data.

Rules of this file: pure but for the rows it is given; no consensus path calls it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from chain.fixedpoint import Int64Vector, to_bytes
from chain.hashing import content_id
from chain.ids import AccountId, Hash
from fl.algorithms.base import Settled
from fl.audit.opening import split_root
from fl.dataset import Dataset, rows
from fl.envelope import read_contribution, send_update
from fl.errors import DataError, DivergenceError
from fl.models import initial_model
from fl.parallel import mapped
from fl.plan.dimensions import audit_policy, encryption_of
from fl.privacy.randomness import SYSTEM_RANDOM
from fl.problem import Problem
from fl.secure.quantise import sum_in_clear
from fl.task import device_seed

Origin = Literal["repeated", "summed", "differs", "taken", "missing"]
"""How an update came to be known again.

repeated: made again, the same bytes; summed: made again, to be compared in the sum alone, since the record has it
encrypted; differs: made again, other bytes; taken: from the record; missing: neither.
"""


@dataclass(frozen=True, slots=True)
class RecordedUpdate:
    """An update as a block lists it: n_k, the payload's content id, and why settling refused it ("" if it did not)."""

    device: AccountId
    samples: int
    payload: Hash
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class RecordedPhase:
    """A task as the chain lived it, with its updates in the chain's order.

    ``is_settled``: did the phase end with enough accepted updates? ``model``: content id of the global model that the
    phase settled, None unless it was a round's last.
    """

    task: Hash
    round: int
    attempt: int
    phase: int
    updates: tuple[RecordedUpdate, ...]
    is_settled: bool
    model: Hash | None


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What came of repeating one update. ``source`` names the rows used, "" if there were none."""

    device: AccountId
    origin: Origin
    source: str


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """What came of repeating a phase. ``is_model_equal``: None if it settled no model, or too much was missing."""

    recorded: RecordedPhase
    updates: tuple[UpdateReport, ...]
    is_model_equal: bool | None

    def count(self, origin: Origin) -> int:
        """Return how many updates have this origin."""
        return sum(update.origin == origin for update in self.updates)


Fetch = Callable[[Hash], bytes | None]
"""Returns a payload of the record by its content id; None if it is not to be had."""


@dataclass(slots=True, eq=False)
class Reproduction:
    """A plan made again, phase by phase, from the rows that are at hand.

    ``rows_of`` maps devices to the name of their rows, as far as it is known; the others are found by what they first
    sent: of all rows with its n_k, those are a device's from which its first update comes bit for bit. Where just one
    device of the ``enrolled`` and one name have a count, they belong together, and a difference is told as one.
    """

    problem: Problem
    enrolled: Mapping[AccountId, int]
    sources: Mapping[str, Dataset]
    rows_of: dict[AccountId, str]
    fetch: Fetch
    threads: int = 1
    _model: Int64Vector = field(init=False)
    _carry: bytes | None = field(init=False, default=b"")
    _first: dict[str, bytes | None] = field(init=False, default_factory=dict)
    _kept: dict[AccountId, bytes] = field(init=False, default_factory=dict)
    """What each device keeps of its last update, where the plan's devices keep anything."""
    _left: dict[AccountId, bytes] = field(init=False, default_factory=dict)
    """What they keep if the update made last settles."""

    def __post_init__(self) -> None:
        self._model = initial_model(self.problem.plan)

    @property
    def unused(self) -> list[str]:
        """Names of rows that no device of the phases so far has."""
        return sorted(self.sources.keys() - set(self.rows_of.values()))

    def repeat(self, recorded: RecordedPhase) -> PhaseReport:
        """Make a phase again and go on to where it led. Phases come in the chain's order."""
        if recorded.phase == 0:
            self._carry = b""
        if self._carry is None:  # what the phase before settled could not be made again
            reports = [UpdateReport(update.device, "missing", "") for update in recorded.updates]
            return PhaseReport(recorded, tuple(reports), None)
        self._find_rows(recorded)
        made = mapped(lambda update: self._made(recorded, update), recorded.updates, self.threads)
        reports, accepted, is_whole = [], [], True
        for update, (report, payload) in zip(recorded.updates, made, strict=True):
            reports.append(report)
            if update.refusal:
                continue
            if recorded.is_settled and report.origin == "repeated":
                self._kept[update.device] = self._left[update.device]
            if payload is None:
                is_whole = False
                continue
            read = partial(read_contribution, self.problem, recorded.phase, payload)
            accepted.append(Settled(update.device, update.samples, read))
        return PhaseReport(recorded, tuple(reports), self._settle(recorded, accepted if is_whole else None))

    def _settle(self, recorded: RecordedPhase, accepted: list[Settled] | None) -> bool | None:
        """Settle what was made; return whether the model is the recorded one, None if none was settled or made."""
        if not recorded.is_settled:
            return None
        if accepted is None:
            self._carry = None
            return None
        assert self._carry is not None
        if encryption_of(self.problem.plan) is not None:
            accepted = [sum_in_clear(self.problem, recorded.phase, accepted, SYSTEM_RANDOM)]
        outcome = self.problem.algorithm.settle(self.problem, recorded.phase, self._model, self._carry, accepted)
        self._carry = outcome.carry
        if outcome.model is None:
            return None
        self._model = outcome.model
        return content_id(to_bytes(outcome.model)) == recorded.model

    # --- one update -------------------------------------------------------------------------------

    def _made(self, recorded: RecordedPhase, update: RecordedUpdate) -> tuple[UpdateReport, bytes | None]:
        """Return what came of an update, and the payload to go on with: the record's, if what was made differs."""
        name = self.rows_of.get(update.device, "")
        if encryption_of(self.problem.plan) is not None:
            made = self._train(recorded, update.device, self.sources[name]) if name else None
            return UpdateReport(update.device, "missing" if made is None else "summed", name), made
        if not name:
            payload = self.fetch(update.payload)
            return UpdateReport(update.device, "missing" if payload is None else "taken", ""), payload
        made = self._train(recorded, update.device, self.sources[name])
        if made is not None and rows(self.sources[name]) == update.samples:
            whole = self._completed(made, update)
            if whole is not None:
                return UpdateReport(update.device, "repeated", name), whole
        return UpdateReport(update.device, "differs", name), self.fetch(update.payload)

    def _train(self, recorded: RecordedPhase, device: AccountId, data: Dataset) -> bytes | None:
        """Return the payload that these rows give a device, without an audit's root; None if the training diverges."""
        assert self._carry is not None
        seed = device_seed(recorded.task, device)
        try:
            trained = self.problem.algorithm.train(self.problem, recorded.phase, self._model, self._carry, data, seed)
            kept = self._kept.get(device, b"")
            payload, self._left[device] = send_update(self.problem, recorded.round, trained, kept)
            return payload
        except (DivergenceError, DataError):
            return None

    def _completed(self, made: bytes, update: RecordedUpdate) -> bytes | None:
        """Return the payload of the record if what was made is it, else None.

        An audited update ends with a root over secrets of its device: all before it is compared, with the record's
        own bytes.
        """
        if audit_policy(self.problem.plan) is None:
            return made if content_id(made) == update.payload else None
        recorded = self.fetch(update.payload)
        return recorded if recorded is not None and split_root(recorded)[0] == made else None

    # --- whose rows are whose ---------------------------------------------------------------------

    def _find_rows(self, recorded: RecordedPhase) -> None:
        """Find the rows of the devices that are met for the first time."""
        self._first.clear()
        for update in recorded.updates:
            if update.device not in self.rows_of:
                found = next(self._candidates(recorded, update), None)
                if found is not None:
                    self.rows_of[update.device] = found

    def _candidates(self, recorded: RecordedPhase, update: RecordedUpdate) -> Iterator[str]:
        """Yield the names whose rows give this update; the one that has its count, where neither has a rival."""
        names = [name for name in self.unused if rows(self.sources[name]) == update.samples]
        if len(names) == 1 and list(self.enrolled.values()).count(update.samples) == 1:
            yield names[0]
            return
        for name in names:
            made = self._first_made(recorded, update.device, name)
            if made is not None and self._completed(made, update) is not None:
                yield name

    def _first_made(self, recorded: RecordedPhase, device: AccountId, name: str) -> bytes | None:
        """Return what these rows give; sums of gradients are the same for every device, and made once."""
        if self.problem.algorithm.phases[recorded.phase].releases_model:
            return self._train(recorded, device, self.sources[name])
        if name not in self._first:
            self._first[name] = self._train(recorded, device, self.sources[name])
        return self._first[name]
