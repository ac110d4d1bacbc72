"""What a simulated world was and what happened in it."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold: when (virtual ms), on which machine (-1: the world), which, how."""

    at_ms: int
    machine: int
    invariant: str
    detail: str

    def __str__(self) -> str:
        where = "the world" if self.machine < 0 else f"machine {self.machine}"
        return f"{self.at_ms / 1000:.3f} s, {where}: {self.invariant}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationReport:
    """One run. The same settings give the same report but for ``wall_seconds``.

    blocks            height of the head all agreed on; ``stale_blocks``: others that were mined
    deepest_reorg     most blocks one machine took back at once; ``reorgs``: how often any did
    rounds_settled, plans_finished, plans_cancelled, updates   on the final chain
    light_updates     of these updates, those of devices without a chain; ``light``: how many of these there are
    forked_updates    updates that blocks of more than one fork carried: one task, asked twice, the same bytes
    states_taken      how often a machine took a state from others instead of executing the blocks before it
    faults            how often each kind asked for happened; ``deaths``: how machines died
    lost_writes       unsynced writes that power cuts undid
    agreed_after_ms   from the end of all faults to the first moment with one new head everywhere; -1: never
    digest            SHA-256 over every effect of every machine, in order
    command           the command line that shows this run again
    """

    seed: int
    nodes: int
    devices: int
    light: int
    engine: str
    virtual_hours: float
    blocks: int
    stale_blocks: int
    reorgs: int
    deepest_reorg: int
    plans: int
    plans_finished: int
    plans_cancelled: int
    rounds_settled: int
    updates: int
    light_updates: int
    forked_updates: int
    states_taken: int
    faults: dict[str, int]
    deaths: dict[str, int]
    lost_writes: int
    byzantine: float
    liars: int
    acts: dict[str, int]
    slashed: int
    messages: int
    bytes: int
    connections: int
    events: int
    checks: dict[str, int]
    agreed_after_ms: int
    head: str
    state_root: str
    digest: str
    violations: tuple[Violation, ...] = ()
    wall_seconds: float = field(compare=False)
    command: str
    asked: tuple[str, ...] = ()

    @property
    def missing_faults(self) -> tuple[str, ...]:
        """The kinds that were asked for and never happened."""
        return tuple(kind for kind, count in self.faults.items() if count == 0)

    @property
    def missing_acts(self) -> tuple[str, ...]:
        """The behaviours that were asked for by name and never did anything."""
        return tuple(name for name in self.asked if not self.acts.get(name))

    @property
    def is_good(self) -> bool:
        """Did every invariant hold, and everything happen that was asked for?"""
        return not self.violations and not self.missing_faults and not self.missing_acts

    def document(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self) | {
            "missing_faults": list(self.missing_faults),
            "missing_acts": list(self.missing_acts),
            "good": self.is_good,
        }
