"""``fedchain plan list``, ``show`` and ``watch``: plans on the chain, their rounds as they settle."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.home import HomeOption
from commands.node_call import ask, find_plan
from commands.output import CommandFailed, JsonFlag, command, console, emit, emit_line, example
from commands.plan_checks import describe_checks, list_checks
from commands.plan_counts import estimates_document, find_estimates, show_estimates
from commands.plan_submit import PlanArgument
from commands.show import coins, counted, facts, listing, measure, short, span

if TYPE_CHECKING:
    from fl.statistics.estimates import Estimate
    from node.client import Client
    from node.rpc.shapes import HistoryView, PlanDetail, PlanView, RoundView, TaskView

Status = Literal["enrolling", "running", "finished", "cancelled"]
_STATUS_STYLES = {"enrolling": "cyan", "running": "yellow", "finished": "green", "cancelled": "red"}
_SHOWN_ROUNDS = 12
_NEWS = {"plan.submitted", "plan.joined", "round.settled", "round.retried", "plan.finished", "plan.cancelled"}
"""What happens in blocks and is worth another look at the plan."""


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list", epilog=example("fedchain plan list --status running"))(list_)
    app.command("show", epilog=example("fedchain plan show 3f9a41c2", "fedchain plan show 3f9a41c2 --toml"))(show)
    app.command("watch", epilog=example("fedchain plan watch 3f9a41c2"))(watch)


@command
def list_(
    home: HomeOption = None,
    status: Annotated[
        Status | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="Only those enrolling, running, finished or cancelled.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the plans on the chain."""
    plans = ask(home, lambda node: node.plans(status))
    rows = [
        (
            short(view.plan),
            _status(view.status),
            f"{view.rounds}/{view.max_rounds}",
            view.enrolled,
            coins(_left(view)),
            view.title,
        )
        for view in plans
    ]
    headings = ("plan", "status", "rounds", "devices", "escrow left", "title")
    table = listing(headings, rows, numbers=("rounds", "devices", "escrow left"))
    emit(as_json, {"plans": plans}, table if rows else "No plans.")


def _left(view: "PlanView") -> int:
    return sum(amount for amount in view.funds.values() if isinstance(amount, int))


def _status(status: str) -> Text:
    return Text(status, _STATUS_STYLES[status])


@command
def show(
    plan: PlanArgument,
    home: HomeOption = None,
    toml: Annotated[bool, typer.Option("--toml", metavar="", help="Print the plan itself instead, as TOML.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show a plan's standing, its open task, and its last rounds; of a plan of kind statistics, what it found."""

    async def look(node: "Client") -> "tuple[PlanDetail, TaskView | None, HistoryView, list[Estimate] | None]":
        name = await find_plan(node, plan)
        detail = await node.plan(name)
        found = await find_estimates(node, name, detail)
        return detail, (await node.task(name)).task, await node.history(name), found

    detail, task, history, found = ask(home, look)
    if toml and not as_json:
        console.out(detail.toml, end="", highlight=False)
        return
    from fl.plan.parse import parse_plan

    audit, plan_itself = _audit(detail), parse_plan(detail.toml)
    document: dict[str, Any] = {
        "standing": detail.standing,
        "task": task,
        "rounds": history.rounds,
        "audit": audit,
        "checks": describe_checks(plan_itself),
        "toml": detail.toml,
    }
    if found is not None:
        document["values"] = estimates_document(found)
    standing = _standing(detail.standing, task, [("audits", _audit_line(audit)), *list_checks(plan_itself)])
    emit(as_json, document, standing, *_rounds(history.rounds), *show_estimates(found or ()))


def _audit(detail: "PlanDetail") -> dict[str, float] | None:
    """Return what a forger risks under the plan's audits, for a device of mean size; None without audits."""
    from fractions import Fraction

    from fl.audit.challenge import escape_chance
    from fl.plan.dimensions import audit_policy
    from fl.plan.parse import parse_plan

    plan, view = parse_plan(detail.toml), detail.standing
    policy = audit_policy(plan)
    if policy is None:
        return None
    samples = view.samples // view.enrolled if view.enrolled else plan.participation.max_samples
    segments = max(1, -(-samples // plan.training.segment))
    return {
        "percent": policy.percent,
        "openings": min(policy.openings, segments),
        "segments": segments,
        "verifiers": policy.verifiers,
        "escape_one_segment": float(escape_chance(policy, segments, 1)),
        "escape_quarter": float(escape_chance(policy, segments, Fraction(1, 4))),
    }


def _audit_line(audit: "dict[str, float] | None") -> str | None:
    if audit is None:
        return None
    return (
        f"{audit['percent']:.0f} % of the updates, {audit['openings']:.0f} of {audit['segments']:.0f} segments, "
        f"{audit['verifiers']:.0f} to verify; a forged segment escapes with "
        f"{100 * audit['escape_one_segment']:.1f} %, a quarter of them with {100 * audit['escape_quarter']:.1f} %"
    )


def _standing(view: "PlanView", task: "TaskView | None", checks: "Sequence[tuple[str, str | None]]") -> RenderableType:
    ended = view.closed > 0
    return facts(
        [
            ("plan", view.plan),
            ("title", view.title),
            ("status", Text.assemble(_status(view.status), f": {view.reason}" if view.reason else "")),
            ("owner", view.owner),
            ("submitted", f"block {view.submitted}"),
            ("enrols until", None if ended or view.status != "enrolling" else f"block {view.enrol_deadline}"),
            ("ended", f"block {view.closed}" if ended else None),
            ("devices", f"{view.enrolled}, with {counted(view.samples, 'sample')}"),
            ("rounds", f"{view.rounds} of at most {view.max_rounds}"),
            ("escrow left", coins(_left(view))),
            *checks,
            ("open task", None if task is None else _task(task)),
        ]
    )


def _task(task: "TaskView") -> str:
    heard, things = (len(task.revealed), "updates")
    if task.step == "commit":
        heard, things = len(task.committed), "commitments"
    if task.step == "share":
        heard, things = len(task.shared), "devices have shared"
    if task.step == "decrypt":
        return (
            f"round {task.round + 1}, {task.phase_name}, {task.step}: {counted(len(task.decrypted), 'part')} of the "
            f"decryption, until block {task.deadline}"
        )
    return (
        f"round {task.round + 1}, {task.phase_name}, {task.step}: {heard} of {len(task.selected)} "
        f"{things}, until block {task.deadline}"
    )


def _rounds(rounds: "Sequence[RoundView]") -> list[RenderableType]:
    if not rounds:
        return []
    shown = rounds[-_SHOWN_ROUNDS:]
    left_out = f"({len(rounds) - len(shown)} earlier ones left out)" if len(shown) < len(rounds) else ""
    rows = [
        (
            view.round + 1,
            measure(view.loss),
            measure(view.gradient_norm),
            len(view.devices),
            len(view.refused),
            view.attempts,
            view.height,
            short(view.model),
        )
        for view in shown
    ]
    headings = ("round", "loss", "gradient", "devices", "refused", "attempts", "block", "model")
    table = listing(headings, rows, numbers=headings[:-1])
    return [Text(f"\nRounds {left_out}".rstrip()), table, *_contributions(rounds[-1])]


def _contributions(view: "RoundView") -> list[RenderableType]:
    """Return what the updates of a round were worth and earned, of a plan whose rewards go by that."""
    if not view.contributions:
        return []
    rewards = {report["device"]: report["reward"] for report in view.devices}
    rows = [
        (
            each.device,
            "a copy" if not each.stands else "not judged" if each.value is None else f"{each.value:+.6f}",
            coins(rewards[each.device]),
        )
        for each in view.contributions
    ]
    headings = ("device", "took off the loss", "earned")
    return [Text(f"\nContributions to round {view.round + 1}"), listing(headings, rows, numbers=headings[1:])]


# --- watching --------------------------------------------------------------------------------------


@command
def watch(
    plan: PlanArgument,
    home: HomeOption = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Give up after this time.", show_default=False),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print each round of a plan as it settles, until the plan ends.

    Exit code 0 if it finished, 1 if it was cancelled. With --json each line is a JSON object with an "event": round,
    reorganised, or end.
    """
    standing = ask(home, lambda node: _watch_in_time(node, plan, timeout, as_json))
    if standing.status == "cancelled":
        raise CommandFailed(f"the plan was cancelled: {standing.reason}")


async def _watch_in_time(node: "Client", name: str, timeout_s: float | None, as_json: bool) -> "PlanView":
    try:
        async with asyncio.timeout(timeout_s):
            return await _Watch(node, as_json).follow(name)
    except TimeoutError:
        raise CommandFailed(f"the plan has not ended after {timeout_s:g} s", "watch it again") from None


class _Watch:
    """Prints what is new each time the ledger says that something happened to the plan."""

    def __init__(self, node: "Client", as_json: bool) -> None:
        self._node = node
        self._as_json = as_json
        self._shown: list[str] = []
        self._status = ""
        self._enrolled = -1

    async def follow(self, name: str) -> "PlanView":
        """Return the plan's standing at its end."""
        plan: str | None = None
        async for event in self._node.events({"ledger", "head"}):
            plan = plan or await self._find(name)
            if plan is None or not self._concerns(event.topic, event.data, plan):
                continue
            standing = await self._tell_news(plan)
            if standing.status in ("finished", "cancelled"):
                self._tell(_end(standing), _end_line(standing))
                return standing
        raise CommandFailed("the node ended the connection", "is it still running? fedchain status")

    async def _find(self, name: str) -> str | None:
        """Return the plan's id; None while it is an id that no block holds yet."""
        from node.client import NotFound

        plan = await find_plan(self._node, name)
        try:
            await self._node.plan(plan)
        except NotFound:
            if not self._status:
                waiting = any(item.kind == "plan.submit" for item in (await self._node.mempool()).listed)
                if not waiting:
                    raise
                self._status = "waiting"
                self._tell({"event": "waiting", "plan": plan}, Text("The plan waits for a block.", "dim"))
            return None
        return plan

    def _concerns(self, topic: str, data: dict[str, Any], plan: str) -> bool:
        """Does this event say that the plan may have changed? The first look always does."""
        if topic == "ledger":
            event = data.get("event", {})
            return event.get("plan") == plan and event.get("kind") in _NEWS
        return not self._status or self._status == "waiting" or topic == "connected" or bool(data.get("undone"))

    async def _tell_news(self, plan: str) -> "PlanView":
        """Print the rounds not printed yet, and what became of those that were."""
        standing, history = (await self._node.plan(plan)).standing, await self._node.history(plan)
        models = [view.model for view in history.rounds]
        same = next((at for at, pair in enumerate(zip(self._shown, models, strict=False)) if pair[0] != pair[1]), None)
        kept = min(len(self._shown), len(models)) if same is None else same
        if kept < len(self._shown):
            text = f"The chain was reorganised: rounds from {kept + 1} on are taken back."
            self._tell({"event": "reorganised", "plan": plan, "round": kept}, Text(text, "yellow"))
        is_first, is_enrolling = self._enrolled < 0, not models and standing.enrolled != self._enrolled
        if is_first or is_enrolling:
            line = f"{standing.title}: {standing.status}, {counted(standing.enrolled, 'device')} enrolled"
            self._tell({"event": "standing", "standing": standing}, Text(line))
        for view in history.rounds[kept:]:
            self._tell({"event": "round", "round": view}, Text(_round_line(view, standing.max_rounds)))
        self._shown, self._status, self._enrolled = models, standing.status, standing.enrolled
        return standing

    def _tell(self, document: object, line: Text) -> None:
        emit_line(self._as_json, document, line)


def _round_line(view: "RoundView", most: int) -> str:
    times = [device["computation_us"] for device in view.devices]
    slowest = span(max(times) / 1e6) if times and max(times) >= 1e6 else f"{max(times, default=0) / 1000:.1f} ms"
    refused = f", {len(view.refused)} refused" if view.refused else ""
    retried = f", attempt {view.attempts}" if view.attempts > 1 else ""
    return (
        f"round {view.round + 1:>3}/{most}  loss {measure(view.loss)}  block {view.height}  "
        f"{counted(len(view.devices), 'device')}{refused}{retried}  compute ≤ {slowest}"
    )


def _end(standing: "PlanView") -> dict[str, object]:
    return {"event": "end", "standing": standing}


def _end_line(standing: "PlanView") -> Text:
    reason = f": {standing.reason}" if standing.reason else ""
    return Text.assemble(_status(standing.status), f" after {counted(standing.rounds, 'round')}{reason}")
