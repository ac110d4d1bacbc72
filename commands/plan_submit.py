"""``fedchain plan submit`` and ``cancel``: what an owner asks of the chain, signed with the node's key."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.home import HomeOption, at_home, home_directory
from commands.node_call import ask, find_plan
from commands.output import CommandFailed, JsonFlag, command, emit, example, waiting
from commands.password import PasswordFileOption, load_key
from commands.show import coins, facts, parse_amount, short, steps

if TYPE_CHECKING:
    from chain.keys import KeyPair
    from consensus.records import Funds
    from fl.plan.bind import BoundPlan
    from fl.plan.schema import Plan
    from node.client import Client
    from node.rpc.shapes import TransactionView

PlanArgument = Annotated[
    str, typer.Argument(metavar="PLAN", help="The plan's id, or its first digits.", show_default=False)
]
WaitOption = Annotated[bool, typer.Option("--wait", metavar="", help="Wait until a block holds it.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long to wait.")]

WAITING_FOR_BLOCK = ", waiting for a block"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("submit", epilog=example("fedchain plan submit plan.toml --home alice --wait"))(submit)
    app.command("cancel", epilog=example("fedchain plan cancel 3f9a41c2 --home alice"))(cancel)


@dataclass(frozen=True, slots=True)
class _Submitted:
    """What came of a submission. ``funds`` is the escrow by purpose, all amounts in units."""

    plan: str
    transaction: str
    owner: str
    funds: "Funds"
    escrow: int
    fee: int
    balance: int
    included: "TransactionView | None"


@command
def submit(
    file: Annotated[
        Path, typer.Argument(metavar="PLAN.toml", help="The plan.", exists=True, dir_okay=False, show_default=False)
    ],
    home: HomeOption = None,
    escrow: Annotated[
        str | None,
        typer.Option(
            "--escrow",
            metavar="AMOUNT",
            help="Units to escrow, or coins like 2.5coins; else what the plan's worst case costs. The rest comes back.",
            show_default=False,
        ),
    ] = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 120.0,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Put a plan on the chain with its escrow, signed with the node's key.

    Reads the plan and the public holdout file it names, keeps the holdout's secrets in the data directory for the node
    to open piece by piece, and hands the transaction to the running node. What the plan does not use of its escrow
    comes back when it ends.
    """
    from fl.plan.bind import load_plan
    from node.home import NODE_KEY
    from storage.directory import DataDirectory

    path = home_directory(home)
    offered = None if escrow is None else parse_amount(escrow)
    key = load_key(DataDirectory.find(path), NODE_KEY, password_file)
    bound = load_plan(file, key.seed)
    with waiting("submitting" + WAITING_FOR_BLOCK if wait else "submitting"):
        done = ask(home, lambda node: _submit(node, path, key, bound, offered, timeout if wait else None))
    _report(as_json, done, bound.plan, at_home(home))


async def _submit(
    node: "Client", home: Path, key: "KeyPair", bound: "BoundPlan", offered: int | None, timeout_s: float | None
) -> _Submitted:
    from msgspec.structs import replace

    from chain.ids import Amount
    from node.service.holdout import save_holdout

    account = await node.account(key.account)
    rules = (await node.genesis()).rules_at(account.height + 1)
    need = _need(bound.plan, rules)
    escrow = need.total if offered is None else offered
    if escrow < need.total:
        raise CommandFailed(
            f"an escrow of {coins(escrow)} is less than the {coins(need.total)} that the plan's worst case costs: "
            f"{_breakdown(need)}",
            "give more, or lower the plan's rewards, rounds, retries or devices",
        )
    if account.balance < escrow:
        raise CommandFailed(
            f"account {account.account} has {coins(account.balance)}; the plan needs an escrow of {coins(escrow)}: "
            f"{_breakdown(need)}",
            "mine, have coins sent to the account, or lower the plan's rewards, rounds, retries or devices",
        )
    if bound.holdout is not None:
        save_holdout(home, bound.holdout)
    plan, transaction = await node.submit_plan(bound.plan, key, escrow=escrow)
    included = None if timeout_s is None else await node.wait_for_transaction(transaction, timeout_s=timeout_s)
    fee = (await node.transaction(transaction)).transaction["fee"]
    return _Submitted(
        plan=plan.hex(),
        transaction=transaction.hex(),
        owner=account.account,
        funds=replace(need, spare=Amount(escrow - need.total)),
        escrow=escrow,
        fee=int(fee),
        balance=account.balance,
        included=included,
    )


def _need(plan: "Plan", rules: object) -> "Funds":
    from chain.genesis import Rules
    from consensus.fees import compute_need

    assert isinstance(rules, Rules)
    need = compute_need(plan, rules)
    if need is None:
        raise CommandFailed("the plan may cost more coins than can exist", "lower its rewards, rounds or retries")
    return need


def _breakdown(need: "Funds") -> str:
    """Return what a plan's escrow is for, in one sentence."""
    return (
        f"rewards {coins(need.devices)} for devices and {coins(need.miners)} for miners, "
        f"fees of joins and updates {coins(need.fees)}, work {coins(need.work)}"
    )


def _report(as_json: bool, done: _Submitted, plan: "Plan", at: str) -> None:
    cost = {name: getattr(done.funds, name) for name in ("devices", "miners", "fees", "work", "spare")}
    document = {
        "plan": done.plan,
        "title": plan.title,
        "transaction": done.transaction,
        "owner": done.owner,
        "escrow": done.escrow,
        "cost": cost,
        "fee": done.fee,
        "state": "waiting" if done.included is None else done.included.state,
        "block": None if done.included is None else done.included.block,
        "height": None if done.included is None else done.included.height,
    }
    where = "waits for a block" if done.included is None else f"in block {done.included.height}"
    human = facts(
        [
            ("plan", done.plan),
            ("title", plan.title),
            ("transaction", done.transaction),
            ("state", where),
            ("escrow", f"{coins(done.escrow)}, of which in the worst case"),
            ("  devices", f"{coins(cost['devices'])} for what they train"),
            ("  miners", f"{coins(cost['miners'])} for what they verify"),
            ("  fees", f"{coins(cost['fees'])} for joins and updates in blocks"),
            ("  work", f"{coins(cost['work'])} for settling rounds"),
            ("  spare", coins(cost["spare"]) if cost["spare"] else None),
            ("fee", coins(done.fee)),
        ]
    )
    emit(as_json, document, human, steps(("Follow it:", f"fedchain plan watch {short(done.plan)}{at}")))


@command
def cancel(
    plan: PlanArgument,
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Cancel a plan of this node's.

    At once while it enrols devices, else when the round in progress ends, whose devices and miners are paid. The rest
    of its escrow comes back.
    """
    with waiting("cancelling" + WAITING_FOR_BLOCK if wait else "cancelling"):
        plan_id, transaction = ask(home, lambda node: _cancel(node, plan, timeout if wait else None))
    emit(
        as_json,
        {"plan": plan_id, "transaction": transaction, "state": "included" if wait else "waiting"},
        facts(
            [
                ("plan", plan_id),
                ("transaction", transaction),
                ("state", "in a block" if wait else "waits for a block"),
            ]
        ),
    )


async def _cancel(node: "Client", name: str, timeout_s: float | None) -> tuple[str, str]:
    from chain.ids import Hash
    from chain.transaction import CancelPlan

    plan = await find_plan(node, name)
    await node.plan(plan)  # one that is not there would wait in the pool, and all that this account sends behind it
    transaction = await node.send(CancelPlan(Hash(bytes.fromhex(plan))))
    if timeout_s is not None:
        await node.wait_for_transaction(transaction, timeout_s=timeout_s)
    return plan, transaction.hex()
