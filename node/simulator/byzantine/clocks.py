"""Lying about time: blocks as early or as late as the rules let them be, and later than that."""

from msgspec.structs import replace

from chain.ids import Hash, Millis
from node.effects import Effect, StartJob
from node.jobs.specs import BuildBlock
from node.simulator.byzantine.base import MINER, Behaviour, Stage

_FUTURE_MS = (0, 2_000, 60_000, 600_000)
"""How far in the future its clock may be: others take such blocks when their time has come, and not before."""


class TimeLie(Behaviour):
    """Dates a third of its blocks as early as can be, a third as late as its clock says, a third by its peers' time."""

    name = "lie-about-time"
    role = MINER

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.clock_offset_ms = stage.random.choice(_FUTURE_MS)

    def wish(self, effect: Effect) -> Effect | None:
        """Date a candidate."""
        core = self.stage.hands.core
        if core is None or not isinstance(effect, StartJob) or not isinstance(effect.spec, BuildBlock):
            return effect
        now = self.stage.hands.now
        time = self.stage.random.choice((0, now, now - self.clock_offset_ms))
        prepared = self.stage.engine.prepare(core.chain.tree, Hash(effect.spec.parent), Millis(max(0, time)))
        self.acts += prepared.time_ms != effect.spec.time_ms or self.clock_offset_ms > 0
        return StartJob(effect.job, replace(effect.spec, time_ms=prepared.time_ms, engine=prepared.engine))
