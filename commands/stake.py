"""``fedchain stake``, ``validators``, ``evidence``: who votes, and what they stand to lose."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from commands.groups import Group
from commands.home import HomeOption, at_home
from commands.node import as_document
from commands.node_call import ask
from commands.output import PANEL_LEDGER, CommandFailed, JsonFlag, command, emit, example, waiting
from commands.plan_submit import WAITING_FOR_BLOCK, TimeoutOption, WaitOption
from commands.show import SHOWN_ACCOUNT, coins, counted, facts, listing, parse_amount, steps

if TYPE_CHECKING:
    from chain.transaction import Body
    from node.client import Client
    from node.rpc.shapes import StakeView, ValidatorsView

app = typer.Typer(cls=Group, help="Stake coins, take them back, and see how they stand.", no_args_is_help=True)
evidence_app = typer.Typer(cls=Group, help="Show what a validator has done wrong.", no_args_is_help=True)

AmountArgument = Annotated[
    str, typer.Argument(metavar="AMOUNT", help="Units, or coins like 2.5coins.", show_default=False)
]
_MAX_EVIDENCE_TEXT = 1 << 16


def add_to(root: typer.Typer) -> None:
    """Add the command that belongs to no group."""
    root.command(
        "validators", rich_help_panel=PANEL_LEDGER, epilog=example("fedchain validators", "fedchain validators --json")
    )(validators)


@command
def validators(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Show who votes in this epoch, with how much, and who else stakes."""
    view = ask(home, lambda node: node.validators())
    emit(as_json, as_document(view), *_epoch(view))


def _epoch(view: "ValidatorsView") -> list[RenderableType]:
    voting = sum(one.power > 0 for one in view.validators)
    fixed = ", fixed by the genesis" if view.permissioned else ""
    return [
        facts(
            [
                ("epoch", f"{view.epoch}, up to block {view.ends}; now {view.height}"),
                ("validators", f"{counted(voting, 'validator')}{fixed}"),
                ("staked", f"{coins(view.power)} vote in this epoch"),
                ("destroyed", f"{coins(view.burned)}, slashed" if view.burned else None),
            ]
        ),
        "",
        listing(
            ("account", "votes", "stake", "standing"),
            [
                (one.account[:SHOWN_ACCOUNT], _share(one, view), coins(one.stake), _standing(one))
                for one in view.validators
            ],
            numbers=("votes", "stake"),
        ),
    ]


def _share(one: "StakeView", view: "ValidatorsView") -> str:
    return f"{100 * one.power / view.power:.1f} %" if one.power else "–"


def _standing(one: "StakeView") -> str:
    if one.standing == "jailed":
        return f"in jail for absence, free from block {one.free_from}"
    if one.standing == "tombstoned":
        return "has broken the protocol: never a validator again"
    missed = f", missed {counted(one.missed, 'turn')} in a row" if one.missed else ""
    return ("in good standing" if one.standing == "good" else "does not stake") + missed


# --- a stake ---------------------------------------------------------------------------------------


@app.command("show", epilog=example("fedchain stake show", "fedchain stake show fed1…"))
@command
def show(
    address: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="The account; else the node's own.", show_default=False)
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what an account stakes, how it stands, and what is on its way back."""
    view = ask(home, lambda node: node.stake(address))
    emit(as_json, as_document(view), *_stake(view))


def _stake(view: "StakeView") -> list[RenderableType]:
    shown: list[RenderableType] = [
        facts(
            [
                ("account", view.account),
                ("stake", coins(view.stake)),
                ("votes", coins(view.power) if view.power else "none in this epoch"),
                ("standing", _standing(view)),
                ("as of", f"block {view.height}"),
            ]
        )
    ]
    if view.leaving:
        rows = [(coins(each.amount), each.purpose, f"block {each.due}") for each in view.leaving]
        shown += ["\nOn their way back", listing(("amount", "out of", "paid by"), rows, numbers=("amount",))]
    return shown


@app.command("bond", epilog=example("fedchain stake bond 1000coins --wait"))
@command
def bond(
    amount: AmountArgument,
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Put coins of the node's account into its stake.

    Stakes count one epoch late: with enough of them it is a validator when the next epoch is over. Then it signs votes,
    earns when it leads, and loses a part of its stake if its key signs what contradicts itself. Run one node a key,
    never two.
    """
    from chain.ids import Amount
    from chain.transaction import Bond

    _send(home, Bond(Amount(parse_amount(amount))), wait, timeout, as_json)


@app.command("unbond", epilog=example("fedchain stake unbond 1000coins"))
@command
def unbond(
    amount: AmountArgument,
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Take coins out of the node's stake.

    A block pays them by itself when the unbonding time is over; until then they can be slashed. The account votes to
    the end of the next epoch: keep the node running.
    """
    from chain.ids import Amount
    from chain.transaction import Unbond

    _send(home, Unbond(Amount(parse_amount(amount))), wait, timeout, as_json)


@app.command("unjail", epilog=example("fedchain stake unjail --wait"))
@command
def unjail(
    home: HomeOption = None, wait: WaitOption = False, timeout: TimeoutOption = 120.0, as_json: JsonFlag = False
) -> None:
    """Leave jail, where a validator comes that misses its turns, once its time there is over."""
    from chain.transaction import Unjail

    _send(home, Unjail(), wait, timeout, as_json)


# --- evidence --------------------------------------------------------------------------------------


@evidence_app.command("submit", epilog=example("fedchain evidence submit evidence.hex --wait"))
@command
def submit(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The evidence, in hex.", show_default=False)],
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Submit two messages of a validator that contradict each other.

    It is slashed, and the node's account gets its share of that. Nodes submit what they see by themselves.
    """
    from chain.transaction import SubmitEvidence

    _send(home, SubmitEvidence(_read_hex(Path(file))), wait, timeout, as_json)


def _read_hex(file: Path) -> bytes:
    if file.stat().st_size > _MAX_EVIDENCE_TEXT:
        raise CommandFailed(f"{file}: is larger than any evidence")
    try:
        return bytes.fromhex(file.read_text(encoding="ascii").strip())
    except ValueError:
        raise CommandFailed(f"{file}: is not hex digits, two a byte") from None


# --- sending ---------------------------------------------------------------------------------------


def _send(home: Path | None, body: "Body", wait: bool, timeout: float, as_json: bool) -> None:
    send(home, body, wait, timeout, as_json, ("See how the stake stands:", f"fedchain stake show{at_home(home)}"))


def send(
    home: Path | None, body: "Body", wait: bool, timeout: float, as_json: bool, following: tuple[str, str]
) -> None:
    """Have the node sign and send a transaction, wait for its block if asked, and tell what to do next."""

    async def order(node: "Client") -> tuple[str, int | None]:
        transaction = await node.send(body)
        view = await node.wait_for_transaction(transaction, timeout_s=timeout) if wait else None
        return transaction.hex(), None if view is None else view.height

    with waiting("sending" + WAITING_FOR_BLOCK if wait else "sending"):
        transaction, height = ask(home, order)
    kind = str(body.__struct_config__.tag)
    document = {
        "transaction": transaction,
        "kind": kind,
        "state": "waiting" if height is None else "included",
        "height": height,
    }
    where = "waits for a block" if height is None else f"in block {height}"
    shown = facts([("transaction", transaction), ("kind", kind), ("state", where)])
    emit(as_json, document, shown, steps(following))
