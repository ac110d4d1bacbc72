"""``fedchain plan dispute``: repeat an update's training, and have every node repeat it if it is false."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.home import HomeOption
from commands.node_call import ask, find_plan
from commands.output import CommandFailed, JsonFlag, command, emit, example, waiting
from commands.plan_submit import PlanArgument
from commands.show import coins, facts

if TYPE_CHECKING:
    from chain.ids import Hash
    from node.client import Client
    from node.disputecase import DisputeCase

_POLL_S = 0.5


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    text = example("fedchain plan dispute 3f9a41c2 fed1qqs…", "fedchain plan dispute 3f9a41c2 fed1qqs… --dry-run")
    app.command("dispute", epilog=text)(dispute)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of it. ``is_false`` as this machine found; the rest None if nothing was sent, or decided in time."""

    case: "DisputeCase"
    made: "Hash | None"
    is_false: bool
    transaction: str | None = None
    height: int | None = None
    is_refuted: bool | None = None
    reward: int | None = None


@command
def dispute(
    plan: PlanArgument,
    device: Annotated[
        str, typer.Argument(metavar="DEVICE", help="The device's account, whose update it is.", show_default=False)
    ],
    round_number: Annotated[
        int | None,
        typer.Option(
            "--round", metavar="N", min=1, help="Only if this round is open (1 is the first).", show_default=False
        ),
    ] = None,
    phase: Annotated[
        int | None,
        typer.Option("--phase", metavar="N", min=1, help="Only if this phase of it is open.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Repeat the training and say what came of it; send nothing.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0.1, help="How long to wait for the step and for the verdict."
        ),
    ] = 300.0,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Dispute a device's update for the open task of a plan that repeats trainings.

    Waits for the dispute step, repeats the training here from what the device shares, and stops if the update is
    true. If it is false, sends the dispute with the plan's deposit, signed by the node, and tells what every node
    found. Who is right has the deposit back, and half of what the attesters lose. Exit code 1 if the update is true.
    """
    place = tuple(None if number is None else number - 1 for number in (round_number, phase))
    done = ask(home, lambda node: _dispute(node, plan, device, place, timeout, dry_run))  # type: ignore[arg-type]
    emit(as_json, _document(done), facts(_shown(done)))
    if not done.is_false:
        remedy = f"nothing was sent; a dispute would have cost the deposit of {coins(done.case.deposit)}"
        raise CommandFailed("the update is what its training gives", remedy)
    if done.is_refuted is False:
        raise CommandFailed("the nodes found the update true", "the deposit went to its attesters")


async def _dispute(
    node: "Client", name: str, device: str, place: tuple[int | None, int | None], timeout_s: float, dry_run: bool
) -> _Outcome:
    from chain.address import parse_account
    from chain.ids import Hash
    from node.disputecase import read_case

    plan, genesis = Hash(bytes.fromhex(await find_plan(node, name))), await node.genesis()
    account = parse_account(device, genesis.prefix)
    with waiting("waiting for the dispute step") as say:
        case = await read_case(node, plan, account, place, timeout_s)
        say("repeating the training; the first time on a machine kernels are compiled")
        made = await asyncio.to_thread(case.repeat)
        found = _Outcome(case, made, not case.is_true(made))
        if dry_run or not found.is_false:
            return found
        say("disputing, waiting for a block")
        own = parse_account((await node.status()).account, genesis.prefix)
        transaction = await node.send(case.dispute(own, made))
        included = await node.wait_for_transaction(transaction, timeout_s=timeout_s)
        say("waiting for the nodes' verdict")
        verdict = await _wait_for_verdict(node, plan.hex(), device, included.height or 0, timeout_s)
    return _Outcome(
        case, made, True, transaction.hex(), included.height, not verdict["is_true"], int(verdict["reward"])
    )


async def _wait_for_verdict(node: "Client", plan: str, device: str, height: int, timeout_s: float) -> dict[str, Any]:
    """Return the event that says how the dispute in a block was decided: in that block or a later one."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                if height > (await node.status()).height:
                    await asyncio.sleep(_POLL_S)
                    continue
                for event in (await node.block(height=height)).events or ():
                    if event["kind"] == "dispute.decided" and (event["plan"], event["device"]) == (plan, device):
                        return event
                height += 1
    except TimeoutError:
        remedy = "it waits for its turn; fedchain plan show --json shows the plan's standing"
        raise CommandFailed(f"the dispute is in a block and not decided after {timeout_s:g} s", remedy) from None


def _document(done: _Outcome) -> dict[str, Any]:
    case = done.case
    return {
        "plan": case.plan.hex(),
        "device": case.update.device.hex(),
        "round": case.state.task.round,
        "phase": case.state.task.phase,
        "update": case.update.update.hex(),
        "sent": case.update.payload.id.hex(),
        "repeated": None if done.made is None else done.made.hex(),
        "is_false": done.is_false,
        "deposit": case.deposit,
        "work": case.price - case.deposit,
        "transaction": done.transaction,
        "height": done.height,
        "is_refuted": done.is_refuted,
        "reward": done.reward,
    }


def _shown(done: _Outcome) -> list[tuple[str, object]]:
    case, task = done.case, done.case.state.task
    verdict = None
    if done.is_refuted:
        reward = coins(done.reward or 0)
        verdict = f"false: refused when the phase settles; deposit back, reward {reward}"
    elif done.is_refuted is False:
        verdict = "true: the deposit is lost"
    return [
        ("update", f"{case.update.update.hex()}, round {task.round + 1}, phase {task.phase + 1}"),
        ("sent", case.update.payload.id.hex()),
        ("repeated", "nothing: the training diverges" if done.made is None else done.made.hex()),
        ("here", "false" if done.is_false else "true"),
        ("deposit", f"{coins(case.deposit)}, and {coins(case.price - case.deposit)} for the work"),
        ("transaction", None if done.transaction is None else f"{done.transaction} in block {done.height}"),
        ("verdict", verdict),
    ]
