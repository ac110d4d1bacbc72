"""Nodes of a run that are killed in the middle of a round (SIGKILL), and come back or stay dead.

A device dies once updates of the round are asked for, a member of a committee once its sum is to be decrypted: where it
is missed. Before anything starts, a run that could not go on without them is refused, and says what it would take.

Rules of this file: what is killed is a process of this run, by its handle; a kill that did not happen is an error, or a
run would seem to have survived it.
"""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from fl.plan.dimensions import encryption_of, most_selected
from fl.plan.schema import Committee, Masked, Plan
from fl.problem import compile_problem
from fl.secure.registry import scheme_of
from node.errors import LocalnetError
from node.localnet.processes import NodeProcess
from node.localnet.progress import Progress
from node.localnet.spec import Kill, LocalnetSpec
from node.localnet.watch import Watched, Watcher, find_client

_ANSWER_SECONDS: Final = 60.0
_TOGETHER: Final = "or let them come back with --restart"


def parse_kill(text: str) -> Kill:
    """Return the kill that NAME@ROUND says. ``LocalnetError`` if it says none."""
    name, separator, number = text.rpartition("@")
    if not separator or not name or not number.isascii() or not number.isdigit():
        raise LocalnetError(f"--kill {text} names no node and round", "say for example --kill miner-2@3")
    return Kill(name, int(number))


def check_kills(spec: LocalnetSpec, plan: Plan, miners: Sequence[str], devices: Sequence[str]) -> None:
    """Check that the killed are there, and that the plan can go on without them. ``LocalnetError`` says why not."""
    for kill in spec.kills:
        if kill.name not in miners and kill.name not in devices:
            raise LocalnetError(f"there is no {kill.name} to kill", f"nodes are {', '.join([*miners, *devices])}")
        if kill.name == miners[0]:
            raise LocalnetError(f"{kill.name} can't be killed", "it owns the plan, and the run is watched through it")
        if not 1 <= kill.round <= plan.stopping.rounds:
            raise LocalnetError(f"{kill.name} can't die in round {kill.round}", f"there are {plan.stopping.rounds}")
    names = [kill.name for kill in spec.kills]
    if len(set(names)) < len(names):
        raise LocalnetError("a node is to be killed twice", "name each once")
    if spec.restart_s is not None or not names:
        return
    left = [name for name in miners if name not in names]
    _check_miners(spec, plan, len(miners), len(left))
    _check_devices(plan, len(devices), sum(name in names for name in devices))


def _check_miners(spec: LocalnetSpec, plan: Plan, count: int, left: int) -> None:
    if spec.engine == "pos" and left * 3 <= count * 2:
        raise LocalnetError(
            f"{left} of {count} validators are no more than two thirds: no block would be final again",
            f"start more with --miners, {_TOGETHER}",
        )
    if left < plan.verification.attestations:
        raise LocalnetError(
            f"an update needs {plan.verification.attestations} miners that vouch for it; {left} would be left",
            f"start more with --miners, {_TOGETHER}",
        )
    how = encryption_of(plan)
    if isinstance(how, Committee) and left < how.threshold:
        raise LocalnetError(
            f"it takes {how.threshold} members of the committee to decrypt; {left} would be left",
            f"start more with --miners, {_TOGETHER}",
        )


def _check_devices(plan: Plan, count: int, dead: int) -> None:
    left, selected = count - dead, min(count, most_selected(plan))
    if left < plan.participation.min_devices:
        raise LocalnetError(
            f"the plan needs {plan.participation.min_devices} devices; {left} would be left",
            f"add data files, or lower participation.min_devices, {_TOGETHER}",
        )
    if dead and isinstance(encryption_of(plan), Masked):
        needed = scheme_of(plan).threshold(compile_problem(plan), selected)
        if selected - dead < needed:
            raise LocalnetError(
                f"it takes {needed} of {selected} devices to take the masks off; {selected - dead} would be left",
                f"lower aggregation.threshold_percent, {_TOGETHER}",
            )


@dataclass(slots=True)
class Killed:
    """What became of one: where it died, and whether it came back."""

    name: str
    round: int
    step: str
    at: float
    restarted: bool = False


class Killer:
    """Kills and restarts as the run goes on. ``processes`` and ``nodes`` are the run's own lists, kept up to date."""

    def __init__(
        self, spec: LocalnetSpec, plan: Plan, processes: list[NodeProcess], nodes: list[Watched], stack: AsyncExitStack
    ) -> None:
        self._pending, self._restart_s = list(spec.kills), spec.restart_s
        self._processes, self._nodes, self._stack = processes, nodes, stack
        self._decrypts = isinstance(encryption_of(plan), Committee)
        self._began = time.monotonic()
        self._killed: list[Killed] = []
        self._unanswered: set[str] = set()

    @property
    def dead(self) -> tuple[str, ...]:
        """Who is dead now."""
        return tuple(each.name for each in self._killed if not each.restarted)

    def report(self) -> list[dict[str, Any]]:
        """Return what was killed, for the summary."""
        return [
            {"node": each.name, "round": each.round, "step": each.step, "seconds": each.at, "restarted": each.restarted}
            for each in self._killed
        ]

    async def look(self, watcher: Watcher, progress: Progress) -> None:
        """Kill whom it is time for, and start whom it is time for."""
        now, task = time.monotonic() - self._began, watcher.task
        for kill in list(self._pending):
            step = "decrypt" if self._decrypts and self._role_of(kill.name) == "miner" else "reveal"
            late = watcher.rounds >= kill.round
            if late or (task is not None and watcher.rounds == kill.round - 1 and task.step == step):
                self._pending.remove(kill)
                await self._kill(kill.name, watcher.rounds + 1, "" if task is None else task.step, now, progress)
        for each in self._killed:
            if self._restart_s is not None and not each.restarted and now - each.at >= self._restart_s:
                await self._restart(each, progress)
        for name in list(self._unanswered):
            await self._connect(name)

    async def finish(self, progress: Progress) -> None:
        """Bring back, when the plan is finished, who is to come back; ``LocalnetError`` if one was never killed."""
        if self._pending:
            names = ", ".join(f"{kill.name}@{kill.round}" for kill in self._pending)
            raise LocalnetError(f"the plan ended before {names} was killed", "name an earlier round")
        for each in self._killed:
            if self._restart_s is not None and not each.restarted:
                await self._restart(each, progress)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while self._unanswered:
            for name in list(self._unanswered):
                await self._connect(name)
            if time.monotonic() > deadline:
                raise LocalnetError(f"{', '.join(sorted(self._unanswered))} did not come back", "see its log")

    def _place(self, name: str) -> int:
        return next(place for place, process in enumerate(self._processes) if process.home.name == name)

    def _role_of(self, name: str) -> str:
        return self._processes[self._place(name)].home.role

    async def _kill(self, name: str, round: int, step: str, now: float, progress: Progress) -> None:
        process = self._processes[self._place(name)]
        process.kill()
        await process.wait()
        self._killed.append(Killed(name, round, step, now))
        progress.say(f"[yellow]killed {name} in round {round}[/], in its {step or 'last'} step")

    async def _restart(self, each: Killed, progress: Progress) -> None:
        place = self._place(each.name)
        self._processes[place] = await NodeProcess.start(self._processes[place].home)
        each.restarted = True
        self._unanswered.add(each.name)
        progress.say(f"started {each.name} again")

    async def _connect(self, name: str) -> None:
        """Take up the talk with one that was started again, as soon as it answers."""
        process = self._processes[self._place(name)]
        process.check()
        client = await find_client(process.home.path)
        if client is None:
            return
        await self._stack.enter_async_context(client)
        place = next(place for place, node in enumerate(self._nodes) if node.name == name)
        self._nodes[place] = Watched(name, process.home.role, client)
        self._unanswered.discard(name)
