"""``fedchain device``: take part in plans with private data that never leave this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from chain.wholefile import write_text
from commands.groups import Group
from commands.home import HomeOption, at_home, home_directory
from commands.node import as_document, need_consent, read_settings, run
from commands.node_call import ask, find_plan
from commands.output import CommandFailed, JsonFlag, UsageFault, command, emit, example
from commands.password import PasswordFileOption
from commands.plan_submit import PlanArgument, TimeoutOption, WaitOption
from commands.privacy import check_delta
from commands.settings import (
    CheckpointOption,
    ConnectOption,
    ConsentOption,
    DataPasswordOption,
    ListenOption,
    OnPowerOption,
    RpcPortOption,
    UnmeteredOption,
    WhenIdleOption,
    with_flags,
)
from commands.show import counted, facts, listing, sentence, short, steps
from commands.stake import send

if TYPE_CHECKING:
    from node.client import Client
    from node.rpc.shapes import DeviceStatus

app = typer.Typer(cls=Group, help="Train plans on private data that stay on this machine.", no_args_is_help=True)

RoleOption = Annotated[
    str | None,
    typer.Option("--role", metavar="NAME", help="The plan's role to take; else its only one.", show_default=False),
]

PlansOption = Annotated[
    list[str] | None,
    typer.Option("--plan", metavar="ID", help="A plan to serve. Can be repeated.", show_default=False),
]
AnyPlanOption = Annotated[bool, typer.Option("--any-plan", metavar="", help="Serve every plan that the data fit.")]
LightOption = Annotated[
    bool, typer.Option("--light", metavar="", help="Keep no chain: follow headers, have the rest proven.")
]
StatementOption = Annotated[
    Path | None,
    typer.Option(
        "--statement",
        metavar="FILE",
        help="What a registrar says about this device, for plans that ask for it.",
        show_default=False,
    ),
]


@app.command("join", epilog=example("fedchain device join 3f9a41c2 --home hospital"))
@command
def join(plan: PlanArgument, home: HomeOption = None, role: RoleOption = None, as_json: JsonFlag = False) -> None:
    """Have the device of a running node serve a plan.

    It joins once its data are seen to fit the plan; fedchain device status tells.
    """

    async def order(node: "Client") -> str:
        name = await find_plan(node, plan)
        if "device" not in (await node.status()).roles:
            raise CommandFailed(
                "this node is no device: it has no data",
                f"stop it, and start it with them: fedchain node start{at_home(home)} --device DATA --consent",
            )
        await node.join(name, role or "")
        return name

    name = ask(home, order)
    emit(as_json, {"plan": name, "role": role or ""}, *_joining(name, home))


def _joining(plan: str, home: Path | None) -> list[RenderableType]:
    told = sentence(f"The device will join plan {short(plan)} if its data fit.")
    return [told, steps(("See whether it did:", f"fedchain device status{at_home(home)}"))]


@app.command(
    "run",
    epilog=example(
        "fedchain device run patients.csv --home hospital --any-plan --consent",
        "fedchain device run patients.csv --home hospital --plan PLAN-ID --consent",
        "fedchain device run store:readings --any-plan --consent --when-idle if-known --on-power required",
        "fedchain device run patients.csv --home phone --light --any-plan --consent --connect HOST:PORT",
    ),
)
@command
def run_(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="The data file to train on, or a store: store:DIR.", show_default=False),
    ],
    home: HomeOption = None,
    consent: ConsentOption = False,
    plans: PlansOption = None,
    any_plan: AnyPlanOption = False,
    role: RoleOption = None,
    light: LightOption = False,
    checkpoint: CheckpointOption = None,
    connect: ConnectOption = None,
    listen: ListenOption = None,
    rpc_port: RpcPortOption = None,
    when_idle: WhenIdleOption = None,
    on_power: OnPowerOption = None,
    unmetered: UnmeteredOption = None,
    statement: StatementOption = None,
    password_file: PasswordFileOption = None,
    data_password_file: DataPasswordOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a node as a device until SIGTERM or Ctrl-C.

    The data stay here. What is learnt from them, the local updates, is released to everybody, for ever: that is what
    the holder of the data consents to.

    With --light the node needs no chain database and little memory. It asks full nodes for single values of the state,
    each with a proof, and bans who lies; it mines nothing, and answers questions about itself alone.

    With store:DIR it trains on a data store (fedchain data store), whose rows stay encrypted on the disk: each plan on
    the rows as of its join. --when-idle, --on-power and --unmetered let it train only while the machine is so: where
    that is known, or (required) only if it is.
    """
    directory = home_directory(home)
    config = with_flags(
        read_settings(directory),
        device=data,
        consent=consent,
        plans=tuple(_plan_id(plan) for plan in plans or ()),
        any_plan=any_plan,
        role=role,
        light=light,
        checkpoint=checkpoint,
        connect=connect,
        listen=listen,
        rpc_port=rpc_port,
        when_idle=when_idle,
        on_power=on_power,
        unmetered=unmetered,
        statement=statement,
    )
    need_consent(config)
    run(directory, config, password_file, None, as_json, data_password_file)


def _plan_id(text: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise UsageFault(f"--plan {text!r}: must be the 64 hex digits of a plan's id")
    return text.lower()


@app.command("permit", epilog=example("fedchain device permit fed1… --wait"))
@command
def permit(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The device's account.", show_default=False)],
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Let a device register, on a network whose genesis names this node's account among its registrars."""
    from chain.address import parse_account
    from chain.transaction import PermitDevice

    account = parse_account(address, ask(home, lambda node: node.genesis()).prefix)
    send(home, PermitDevice(account), wait, timeout, as_json, ("On the device:", "fedchain device run DATA --consent"))


@app.command("vouch", epilog=example("fedchain device vouch fed1… --until 50000 --out statement.json --home registrar"))
@command
def vouch(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The device's account.", show_default=False)],
    until: Annotated[
        int,
        typer.Option("--until", metavar="HEIGHT", min=1, help="The last height at which it holds.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the statement goes.", show_default=False)],
    measurement: Annotated[
        str, typer.Option("--measurement", metavar="HEX", help="What you have measured of it, in hex.")
    ] = "",
    home: HomeOption = None,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Vouch for a device, with this home's key, to the plans that name you among their registrars.

    The device gives the file to plans that ask for it: fedchain device run --statement FILE. It can't be taken back;
    it ends at its height. No node needs to run.
    """
    from chain.address import parse_account
    from chain.ids import Height
    from chain.statement import MAX_MEASUREMENT_BYTES, StatementText, state
    from commands.password import load_key
    from node.home import NODE_KEY
    from node.statementfile import write_statement
    from storage.directory import DataDirectory

    directory = DataDirectory.find(home_directory(home))
    genesis = directory.genesis()
    device = parse_account(address, genesis.prefix)
    try:
        measured = bytes.fromhex(measurement)
    except ValueError:
        raise UsageFault(f"--measurement {measurement!r:.80}: must be hex digits") from None
    if len(measured) > MAX_MEASUREMENT_BYTES:
        raise UsageFault(f"--measurement: {len(measured)} bytes; at most {MAX_MEASUREMENT_BYTES} are allowed")
    key = load_key(directory, NODE_KEY, password_file)
    text = StatementText(genesis.chain_id, device, "software", Height(until), measured)
    write_text(out, write_statement(state(key, text), genesis.chain_id, device))
    document = {"statement": str(out), "registrar": key.account.hex(), "device": device.hex(), "expiry": until}
    told = facts([("statement", str(out)), ("registrar", f"{key.account.hex()}, as plans name it")])
    emit(as_json, document, told, steps(("On the device:", f"fedchain device run DATA --consent --statement {out}")))


@app.command(
    "budget",
    epilog=example("fedchain device budget 500000 --wait", "fedchain device budget --epsilon 2 --delta 1e-6 --wait"),
)
@command
def budget(
    loss: Annotated[
        str | None, typer.Argument(metavar="MICRO-ZCDP", help="The budget, a whole number.", show_default=False)
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option("--epsilon", metavar="EPSILON", help="Or an epsilon, with --delta.", show_default=False),
    ] = None,
    delta: Annotated[
        float | None, typer.Option("--delta", metavar="DELTA", help="The delta of --epsilon.", show_default=False)
    ] = None,
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Set or lower this device's lifetime privacy budget: it can never be raised again.

    From then on no block takes an update that would make it lose more, over all plans, and none of a plan without
    noise. Free, once in 100 blocks. What running plans may still need does not bound it: they get what fits.
    """
    from chain.transaction import LowerBudget

    found = _budget(loss, epsilon, delta)
    if epsilon is not None:
        check_delta(delta, ask(home, lambda node: node.privacy(None, 0, 1)))
    send(
        home,
        LowerBudget(found),
        wait,
        timeout,
        as_json,
        ("What it has lost, and what is left:", f"fedchain privacy{at_home(home)}"),
    )


def _budget(loss: str | None, epsilon: float | None, delta: float | None) -> int:
    """Return the budget that the command line names, in micro-zCDP."""
    from chain.ids import INT_MAX
    from fl.privacy.convert import loss_within

    if (loss is None) == (epsilon is None):
        raise UsageFault("name the budget in micro-zCDP, or as --epsilon with --delta: one of the two")
    if loss is not None:
        if delta is not None:
            raise UsageFault("--delta belongs to --epsilon; a budget in micro-zCDP needs none")
        if not (loss.isascii() and loss.isdigit() and len(loss) <= 19 and 0 < int(loss) <= INT_MAX):
            raise UsageFault(f"budget {loss!r}: must be 1 … {INT_MAX} micro-zCDP; 0 would be none at all")
        return int(loss)
    if epsilon is None or not 0 < epsilon < 1000:
        raise UsageFault(f"--epsilon {epsilon}: must be above 0 and below 1000")
    if delta is None or not 0 < delta < 1:
        raise UsageFault(f"--delta {delta}: is needed with --epsilon; must be above 0 and below 1")
    found = loss_within(epsilon, delta)
    if not found:
        raise UsageFault(f"--epsilon {epsilon} at delta {delta} is less than 1 micro-zCDP, the least budget")
    return found


@app.command("status", epilog=example("fedchain device status --home hospital"))
@command
def status(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Show what the device of a running node does: plans it serves or stays away from, and why."""
    view, ended = ask(home, look)
    emit(as_json, as_document(view) | {"ended": ended}, *describe(view, ended))


async def look(node: "Client") -> "tuple[DeviceStatus, dict[str, str]]":
    """Return what the device does, and of the plans that it does not stay away from those that are over, and how."""
    from node.client import NotFound

    view = await node.device_status()
    ended: dict[str, str] = {}
    for one in () if view.role is None else view.role["plans"]:
        if one["declined"]:
            continue
        try:
            status = (await node.plan(one["plan"])).standing.status
        except NotFound:  # a light node knows no more than its device needs
            continue
        if status in ("finished", "cancelled"):
            ended[one["plan"]] = status
    return view, ended


def _lost(loss: int) -> str | None:
    return f"{loss:,} micro-zCDP by its journal; see fedchain privacy" if loss else None


def describe(view: "DeviceStatus", ended: dict[str, str]) -> list[RenderableType]:
    """Return what ``device status`` prints."""
    if view.role is None:
        return ["This node is no device. Start it with its data: fedchain node start --device DATA --consent"]
    shown: list[RenderableType] = [
        facts(
            [
                ("account", view.account),
                ("registered", "yes" if view.registered else "not yet"),
                ("working on", view.role["working"] or "nothing"),
                ("waits", view.role["waiting"] or None),
                ("released", f"{counted(view.role['releases'], 'local update')} since the start"),
                ("lost", _lost(view.role.get("loss", 0))),
                ("last error", view.role["last_error"] or None),
            ]
        )
    ]
    rows = [
        (
            short(one["plan"]),
            one["role"],
            one["samples"],
            one["declined"] or ended.get(one["plan"], "takes part"),
        )
        for one in view.role["plans"]
    ]
    if rows:
        shown += ["", listing(("plan", "role", "samples", "standing"), rows, numbers=("samples",))]
    return shown
