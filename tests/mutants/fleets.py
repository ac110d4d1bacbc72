"""Mutants of fleets: what each device of many pays, commits to and says again."""

from typing import Final

from tests.mutants.base import Mutant

NOISE: Final = ("tests/node/fleet/test_fleet_noise.py",)
ELSEWHERE: Final = ("tests/fl/executors/test_fleets.py",)
FORGETS: Final = ("tests/storage/test_journal_forgets.py",)
RESIDUALS: Final = ("tests/node/fleet/test_fleet_residuals.py",)
COMMITS: Final = ("tests/node/fleet/test_fleet_commits.py",)
TOWN: Final = ("tests/node/fleet/test_fleet_town.py",)

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a fleet trains a batch again while it trains",
        "node/roles/fleet.py",
        " and self._training != plan",
        "",
        TOWN,
    ),
    Mutant(
        "a fleet leaves who was not reached until it asks itself who is missing",
        "node/roles/fleet.py",
        "                self._reopen(spec, len(result.updates) + len(result.failed))\n",
        "                pass\n",
        TOWN,
    ),
    Mutant(
        "a fleet trains its whole batch before anything of it leaves, however long that takes",
        "node/jobs/fleet.py",
        "lambda: control.clock_us() - began >= _LONG_US",
        "lambda: False",
        TOWN,
    ),
    Mutant(
        "a fleet's devices send what they trained as it is",
        "node/jobs/fleetnoise.py",
        "        add_noise(problem, phase, count, payload, source) if isinstance(payload, bytes) else payload",
        "        payload",
        NOISE,
    ),
    Mutant(
        "a fleet's devices go by their own releases, though the secret was changed",
        "node/roles/fleetlosses.py",
        "        lost = max(journal.total(account), 0 if record is None else record.privacy_total, self._of_others)",
        "        lost = max(journal.total(account), 0 if record is None else record.privacy_total)",
        NOISE,
    ),
    Mutant(
        "a fleet goes by its journal alone, however old it is",
        "node/roles/fleetlosses.py",
        "        lost = max(journal.total(account), 0 if record is None else record.privacy_total, self._of_others)",
        "        lost = max(journal.total(account), self._of_others)",
        NOISE,
    ),
    Mutant(
        "a fleet trains for devices whose budgets have no room",
        "node/roles/fleetlosses.py",
        "            reason = purse.find_release_reason(view, plan, document, charge)\n            if reason is None:",
        "            reason = None\n            if reason is None:",
        NOISE,
    ),
    Mutant(
        "a fleet joins for devices whose budgets have no room",
        "node/roles/fleet.py",
        "        reason = self._losses.purse(place).find_join_reason(view, get_problem(view, plan).plan)",
        "        reason = None",
        NOISE,
    ),
    Mutant(
        "a fleet's releases are not looked at again before they leave",
        "node/roles/fleetlosses.py",
        "            if charge.total < purse.lost + charge.loss:",
        "            if False:",
        NOISE,
    ),
    Mutant(
        "a fleet trains anew for a task that it has committed to",
        "node/roles/fleetcommits.py",
        "        takes_updates(view, state) and not is_committing(view, Hash(state.task.plan))",
        "        takes_updates(view, state)",
        COMMITS,
    ),
    Mutant(
        "a fleet reveals what its journal has, whatever it has committed to",
        "node/roles/asked.py",
        "    return entry is not None and position is not None and is_as_committed(view, position, entry.update)",
        "    return entry is not None",
        COMMITS,
    ),
    Mutant(
        "a fleet forgets who has committed",
        "node/roles/fleetroll.py",
        "                        standing.committed.add(place)",
        "                        pass",
        COMMITS,
    ),
    Mutant(
        "a worker that is lost stays lost",
        "fl/executors/crew.py",
        "                self._pool.restart(worker, self._setup(worker))",
        "                pass",
        ELSEWHERE,
    ),
    Mutant(
        "a pool that has failed is kept",
        "fl/executors/fleets.py",
        "        except ExecutorError:\n            self.close()",
        "        except ExecutorError:\n            pass",
        ELSEWHERE,
    ),
    Mutant(
        "a fleet's devices train at each other's places",
        "fl/executors/fleets.py",
        "            own = [self._homes[places[number]][1] for number in numbers]",
        "            own = list(range(len(numbers)))",
        ELSEWHERE,
    ),
    Mutant(
        "what a journal has forgotten cost a device nothing",
        "storage/releases.py",
        "            self._known[device], self._totals[device] = device, total.loss",
        "            self._known[device] = device",
        FORGETS,
    ),
    Mutant(
        "a device's total falls back to an older release's",
        "storage/releases.py",
        "        self._totals[device] = max(self.total(device), release.privacy.total)",
        "        self._totals[device] = release.privacy.total",
        FORGETS,
    ),
    Mutant(
        "a task whose releases are forgotten may be released for again",
        "storage/releases.py",
        "        if self.is_over(entry.task):",
        "        if False:",
        FORGETS,
    ),
    Mutant(
        "a journal's new file takes the old one's place before it is flushed",
        "storage/recordfile.py",
        "        lengths.append(len(entry))\n    _flush(file)",
        "        lengths.append(len(entry))",
        FORGETS,
    ),
    Mutant(
        "a fleet's journal forgets what blocks may bring back",
        "node/roles/fleetjournal.py",
        "    if state is not None and state.opened <= final:",
        "    if state is not None:",
        ("tests/node/fleet/test_fleet_journal.py",),
    ),
    Mutant(
        "a fleet's devices keep nothing of what they did not send",
        "node/roles/fleetresiduals.py",
        "        around.world.residuals.put(plan, AccountId(one.device), task, one.kept, settled)",
        "        pass",
        RESIDUALS,
    ),
    Mutant(
        "a fleet's devices begin with an empty residual each round",
        "node/jobs/fleetresiduals.py",
        '    sent, kept = send_update(problem, task.round, payload, before or b"")',
        '    sent, kept = send_update(problem, task.round, payload, b"")',
        RESIDUALS,
    ),
    Mutant(
        "a device of a fleet sends nothing of an update that is too long",
        "fl/fleetpayloads.py",
        "                vector = clipped(too_long[span], bound, problem.fraction_bits) if left[place] else said[span]",
        "                vector = said[span]",
        ("tests/fl/test_fleet_payloads.py",),
    ),
)
