"""``fedchain account``, ``transfer``, ``block``: coins, and what blocks hold."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.home import HomeOption
from commands.node import as_document
from commands.node_call import ask
from commands.output import PANEL_LEDGER, CommandFailed, JsonFlag, UsageFault, command, emit, example, waiting
from commands.plan_submit import WAITING_FOR_BLOCK, TimeoutOption, WaitOption
from commands.show import SHOWN_ACCOUNT, coins, facts, listing, moment, parse_amount, short, size

if TYPE_CHECKING:
    from chain.ids import Hash
    from node.client import Client
    from node.rpc.shapes import AccountView, BlockView, ProofView

_MAX_HEIGHT_DIGITS = 18


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for function, *lines in (
        (account, "fedchain account", "fedchain account fed1… --prove"),
        (transfer, "fedchain transfer fed1… 2.5coins --wait", "fedchain transfer fed1… 2.5coins --replace 5e0c…"),
        (block, "fedchain block", "fedchain block 42 --json"),
    ):
        app.command(function.__name__, rich_help_panel=PANEL_LEDGER, epilog=example(*lines))(function)


# --- accounts --------------------------------------------------------------------------------------


@command
def account(
    address: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="The account; else the node's own.", show_default=False)
    ] = None,
    home: HomeOption = None,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove", metavar="", help="Check the entry's proof against the head's state root, and show both."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show an account's coins, and what it is registered as."""

    async def look(node: "Client") -> "AccountView":
        return await node.account(address or (await node.status()).account, prove=prove)

    view = ask(home, look)
    if view.proof is not None:
        _check_proof(view.proof)
    document = as_document(view) | ({"proof_checked": True} if view.proof is not None else {})
    emit(as_json, document, _account_facts(view))


def _check_proof(proof: "ProofView") -> None:
    """Raise ``CommandFailed`` if a proof does not show that its value stands under its state root."""
    from chain.codec import decode
    from chain.ids import Hash
    from consensus.tree import StateProof, verify_state_proof

    value = None if proof.value is None else bytes.fromhex(proof.value)
    root = Hash(bytes.fromhex(proof.state_root))
    if not verify_state_proof(root, bytes.fromhex(proof.key), value, decode(bytes.fromhex(proof.proof), StateProof)):
        raise CommandFailed("the node's proof does not hold: it does not lead to the state root", "ask another node")


def _account_facts(view: "AccountView") -> RenderableType:
    proof = view.proof
    return facts(
        [
            ("account", view.account),
            ("balance", coins(view.balance)),
            ("next nonce", view.next_nonce),
            ("device", None if view.device is None else f"registered in block {view.device['registered']}"),
            ("miner", None if view.bond is None else f"bonds {coins(view.bond)}"),
            ("as of", f"block {view.height}"),
            ("proof", None if proof is None else Text("holds", "green")),
            ("state root", None if proof is None else proof.state_root),
            ("block", None if proof is None else proof.block),
        ]
    )


@command
def transfer(
    to: Annotated[str, typer.Argument(metavar="ADDRESS", help="Who gets them.", show_default=False)],
    amount: Annotated[
        str,
        typer.Argument(metavar="AMOUNT", help="Units, or coins like 2.5coins.", show_default=False),
    ],
    replace: Annotated[
        str | None,
        typer.Option(
            "--replace",
            metavar="TRANSACTION",
            help="Send this in the place of one that still waits, for the least fee that pushes it out.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Send coins from the node's account."""
    units = parse_amount(amount)

    async def send(node: "Client") -> tuple[str, int | None]:
        own = await node.account((await node.status()).account)
        if own.balance < units:
            raise CommandFailed(
                f"account {own.account} has {coins(own.balance)}, less than the {coins(units)} to send",
                "send less, and leave a little for the fee",
            )
        transaction = await _send(node, to, units, replace)
        view = await node.wait_for_transaction(transaction, timeout_s=timeout) if wait else None
        return transaction.hex(), None if view is None else view.height

    with waiting("sending" + WAITING_FOR_BLOCK if wait else "sending"):
        transaction, height = ask(home, send)
    where = "waits for a block" if height is None else f"in block {height}"
    emit(
        as_json,
        {
            "transaction": transaction,
            "to": to,
            "amount": units,
            "state": "waiting" if height is None else "included",
            "height": height,
        },
        facts([("transaction", transaction), ("state", where), ("to", to), ("amount", coins(units))]),
    )


async def _send(node: "Client", to: str, units: int, replace: str | None) -> "Hash":
    if replace is None:
        return await node.transfer(to, units)
    from chain.address import parse_account
    from chain.ids import Amount
    from chain.transaction import Transfer

    if len(replace) != 64 or set(replace.lower()) - set("0123456789abcdef"):
        raise UsageFault(f"--replace {replace!r}: must be the 64 hex digits of a transaction's id")
    account = parse_account(to, (await node.genesis()).prefix)
    return await node.replace(replace.lower(), Transfer(account, Amount(units)))


# --- blocks ----------------------------------------------------------------------------------------


@command
def block(
    name: Annotated[
        str | None,
        typer.Argument(metavar="HEIGHT|ID", help="The block; else the head.", show_default=False),
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a block: its header, its transactions, its local updates, what happened in it."""
    height, id = _named(name)
    view = ask(home, lambda node: node.block(height=height, id=id))
    emit(as_json, view, _block_facts(view), *_block_lists(view))


def _named(name: str | None) -> tuple[int | None, str | None]:
    if name is None:
        return None, None
    if name.isascii() and name.isdecimal() and len(name) <= _MAX_HEIGHT_DIGITS:
        return int(name), None
    if len(name) == 64 and not set(name.lower()) - set("0123456789abcdef"):
        return None, name.lower()
    raise UsageFault(f"block {name!r}: must be a height, or the 64 hex digits of an id")


def _block_facts(view: "BlockView") -> RenderableType:
    header = view.header
    place = f"main chain, {view.confirmations} deep" if view.main_chain else "not in the main chain"
    return facts(
        [
            ("block", view.id),
            ("height", f"{view.height} ({place})"),
            ("parent", header["parent"]),
            ("time", moment(header["time_ms"])),
            ("producer", header["producer"]),
            ("state root", header["state_root"]),
            ("transactions", "body not stored" if view.transactions is None else len(view.transactions)),
            ("local updates", None if view.updates is None else len(view.updates)),
        ]
    )


def _block_lists(view: "BlockView") -> list[RenderableType]:
    lists: list[RenderableType] = []
    if view.transactions:
        rows = [_transaction_row(item) for item in view.transactions]
        lists += ["\nTransactions", listing(("id", "kind", "sender", "fee"), rows, numbers=("fee",))]
    if view.updates:
        rows = [_update_row(item) for item in view.updates]
        headings = ("plan", "round", "phase", "device", "samples", "compute", "payload")
        lists += ["\nLocal updates", listing(headings, rows, numbers=("round", "phase", "samples", "compute"))]
    if view.events:
        kinds: dict[str, int] = {}
        for event in view.events:
            kinds[event["kind"]] = kinds.get(event["kind"], 0) + 1
        lists.append("\nEvents: " + ", ".join(f"{kind} × {count}" for kind, count in kinds.items()))
    return lists


def _transaction_row(item: dict[str, Any]) -> tuple[object, ...]:
    inner = item["transaction"]
    return short(item["id"]), inner["body"]["kind"], inner["sender"][:SHOWN_ACCOUNT], coins(inner["fee"])


def _update_row(item: dict[str, Any]) -> tuple[object, ...]:
    release = item["update"]["release"]
    return (
        short(release["plan"]),
        release["round"] + 1,
        release["phase"] + 1,
        release["device"][:SHOWN_ACCOUNT],
        release["samples"],
        f"{release['computation_us'] / 1000:.1f} ms",
        size(release["payload"]["size"]),
    )
