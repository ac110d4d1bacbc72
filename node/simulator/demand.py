"""What people want of a simulated world: an owner submits one plan after the other, everybody pays everybody.

The owner watches its own node, as a person would: a plan that is not on its chain and not on its way is submitted
again. Now and then it changes its mind and cancels.
"""

from collections.abc import Sequence
from typing import Final

from chain.ids import Amount, Hash, Millis
from chain.transaction import CancelPlan, SubmitPlan, Transfer
from consensus.fees import get_required_escrow
from consensus.queries import get_plan
from fl.plan.schema import encode_plan, plan_id
from node.core.core import NodeCore
from node.events import SubmitBody
from node.simulator.machine import Machine
from node.simulator.population import Commission, Population, Safe
from node.simulator.schedule import Schedule, source
from node.simulator.settings import START_MS, SimulationSettings

_FIRST_BLOCKS: Final = 3
_TRANSFER_ODDS: Final = 0.5
_CANCEL_ODDS: Final = 0.2
"""How many plans but the first are cancelled before their time."""
_CANCEL_BLOCKS: Final = 60
OVER: Final = ("finished", "cancelled")


class Demand:
    """The owner and the payers. ``plans`` lists what was submitted, in order."""

    def __init__(
        self,
        settings: SimulationSettings,
        schedule: Schedule,
        population: Population,
        safe: Safe,
        machines: Sequence[Machine],
    ) -> None:
        self.plans: list[Hash] = []
        self._settings = settings
        self._schedule = schedule
        self._population = population
        self._safe = safe
        self._machines = machines
        self._random = source(settings.seed, "demand")
        self._commission: Commission | None = None
        self._cancel_at: int | None = None
        self._last_submission = START_MS + settings.duration_ms * 3 // 4

    def begin(self) -> None:
        """Put the first wish into the schedule."""
        self._schedule.after(_FIRST_BLOCKS * self._settings.block_ms, self._step)

    def _step(self) -> None:
        self._schedule.after(self._settings.block_ms, self._step)
        self._pay()
        core = self._machines[self._settings.owner].core
        if self._settings.devices and core is not None and core.status(self._now()).state != "syncing":
            self._tend_plan(core)

    def _now(self) -> Millis:
        return Millis(self._machines[self._settings.owner].clock.shown)

    def _pay(self) -> None:
        """Let somebody pay somebody."""
        if self._random.random() >= _TRANSFER_ODDS or self._schedule.now > START_MS + self._settings.duration_ms:
            return
        payer = self._machines[self._random.randrange(self._settings.nodes)]
        payee = self._machines[self._random.randrange(len(self._machines))].character.key.account
        body = Transfer(payee, Amount(self._random.randint(1, 10**6)))
        payer.ask(lambda request: SubmitBody(request, body))

    # --- plans ------------------------------------------------------------------------------------

    def _tend_plan(self, core: NodeCore) -> None:
        if self._commission is None or self._is_over(core, self.plans[-1]):
            if not self._may_commission():
                return
            self._commission_next()
        assert self._commission is not None
        if get_plan(core.chain.view, self.plans[-1]) is None:
            self._submit(core, self._commission)
        elif self._cancel_at is not None and self._schedule.now >= self._cancel_at:
            self._cancel_at = None
            body = CancelPlan(self.plans[-1])
            self._machines[self._settings.owner].ask(lambda request: SubmitBody(request, body))

    def _may_commission(self) -> bool:
        limit = self._settings.plans
        if limit and len(self.plans) >= limit:
            return False
        return not self.plans or self._schedule.now <= self._last_submission

    def _commission_next(self) -> None:
        number = len(self.plans)
        self._commission = self._population.commission(number)
        id = plan_id(self._commission.plan)
        self.plans.append(id)
        if self._commission.holdout is not None:
            self._safe.sets[id] = self._commission.holdout
        if number and self._random.random() < _CANCEL_ODDS:
            self._cancel_at = self._schedule.now + self._random.randint(1, _CANCEL_BLOCKS) * self._settings.block_ms

    def _submit(self, core: NodeCore, commission: Commission) -> None:
        waiting = [signed.transaction.body for signed in core.pending_transactions()]
        if any(isinstance(body, SubmitPlan) for body in waiting):
            return
        escrow = get_required_escrow(commission.plan, core.chain.rules)
        assert escrow is not None
        body = SubmitPlan(encode_plan(commission.plan), Amount(escrow))
        self._machines[self._settings.owner].ask(lambda request: SubmitBody(request, body))

    # --- is it done? ------------------------------------------------------------------------------

    def _is_over(self, core: NodeCore, plan: Hash) -> bool:
        entry = get_plan(core.chain.view, plan)
        return entry is not None and entry.status in OVER

    def is_done(self) -> bool:
        """Has every honest machine seen the end of every plan?"""
        cores = [machine.core for machine in self._machines if machine.is_honest and machine.has_chain]
        return all(core is not None and self._is_over(core, plan) for core in cores for plan in self.plans)
