"""``fedchain privacy``: what a device's releases have cost it, over all plans, and what is left.

What the chain counts are whole micro-zCDP. (ε, δ) is made of them here, for people.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from commands.home import HomeOption
from commands.node import as_document
from commands.node_call import ask
from commands.output import PANEL_LEARNING, CommandFailed, JsonFlag, UsageFault, command, emit, example, waiting
from commands.show import counted, facts, listing, minute, short

if TYPE_CHECKING:
    from node.client import Client
    from node.rpc.shapes import ChargeView, PrivacyView

DELTA = 1e-5
"""Where a tenth of one in as many rows is not less."""
_PAGE = 1000
_LISTED = 15
_NO_AMPLIFICATION = (
    "amplifies nothing: lots that everybody can read hide nobody, so nothing is taken off; rounds in which the device "
    "was not drawn cost nothing"
)

DeltaOption = Annotated[
    float | None,
    typer.Option(
        "--delta",
        metavar="DELTA",
        help="The probability with which epsilon may fail; below one in as many rows as the device has.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Reading:
    """A device's privacy in (ε, δ). ``tighter``: by the exact curve of Gaussian releases; None where others count."""

    view: "PrivacyView"
    delta: float
    epsilon: float
    tighter: float | None
    left: float | None
    history: tuple["ChargeView", ...]

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        from fl.privacy.charges import MICRO
        from fl.privacy.convert import epsilon_of

        listed = [
            as_document(charge) | {"epsilon_at_delta": epsilon_of(charge.total, self.delta)} for charge in self.history
        ]
        return as_document(self.view) | {
            "rho": self.view.loss / MICRO,
            "delta": self.delta,
            "epsilon_at_delta": self.epsilon,
            "epsilon_gaussian": self.tighter,
            "epsilon_of_lifetime": self.left,
            "history": listed,
        }


def add_to(root: typer.Typer) -> None:
    """Add the command that belongs to no group."""
    root.command(
        "privacy",
        rich_help_panel=PANEL_LEARNING,
        epilog=example(
            "fedchain privacy", "fedchain privacy fed1… --delta 1e-6", "fedchain privacy fed1… --plot privacy.svg"
        ),
    )(privacy)


@command
def privacy(
    device: Annotated[
        str | None, typer.Argument(metavar="DEVICE", help="Its account; else the node's own.", show_default=False)
    ] = None,
    delta: DeltaOption = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw the loss over time: FILE.png or FILE.svg.", show_default=False
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a device has lost of its privacy, over all plans, and what is left.

    Every update states what it releases; the chain adds that up, in zCDP (1 zCDP = 1,000,000 micro-zCDP). Who has a
    lifetime budget never loses more: no block takes an update beyond it.
    """
    if plot is not None and plot.suffix not in (".png", ".svg"):
        raise UsageFault(f"--plot {plot}: must end in .png or .svg")
    with waiting("asking the node"):
        view, history = ask(home, lambda node: _gather(node, device))
    reading = read_privacy(view, history, delta)
    if plot is not None:
        _draw(reading, plot)
    shown = [*_facts(reading), *_plans(reading), *_history(reading)]
    emit(as_json, reading.document(), *shown, *([f"\nDrawn in {plot}"] if plot is not None else []))


async def _gather(node: "Client", device: str | None) -> tuple["PrivacyView", tuple["ChargeView", ...]]:
    """Return a device's privacy and all its charges."""
    view = await node.privacy(device, 0, _PAGE)
    history = list(view.history)
    while len(history) < view.charges:
        more = (await node.privacy(device, len(history), _PAGE)).history
        if not more:  # a block was taken back meanwhile
            break
        history += more
    return view, tuple(history)


def read_privacy(view: "PrivacyView", history: tuple["ChargeView", ...], delta: float | None) -> Reading:
    """Return what a device's loss means at a δ; ``UsageFault`` for a δ that promises nothing."""
    from fl.privacy.convert import epsilon_of, gaussian_epsilon

    if not view.registered:
        raise CommandFailed(
            f"{view.device} is no device of this network (block {view.height})", "see fedchain device status"
        )
    chosen = check_delta(delta, view)
    is_gaussian = (
        view.loss == view.charged
        and bool(history)
        and {charge.mechanism for charge in history} <= {"gaussian", "gaussian-sum"}
    )
    return Reading(
        view=view,
        delta=chosen,
        epsilon=epsilon_of(view.loss, chosen),
        tighter=gaussian_epsilon(view.loss, chosen) if is_gaussian else None,
        left=epsilon_of(view.lifetime, chosen) if view.lifetime else None,
        history=history,
    )


def check_delta(delta: float | None, view: "PrivacyView") -> float:
    """Return the δ to reckon with, one that promises something to each row. ``UsageFault``.

    How many rows the device has is known by the plans that it joined.
    """
    rows = min((plan.samples for plan in view.plans if plan.unit == "record"), default=0)
    if delta is None:
        return min(DELTA, 0.1 / rows) if rows else DELTA
    if not 0 < delta < 1:
        raise UsageFault(f"--delta {delta}: must be above 0 and below 1")
    if rows and delta * rows >= 1:
        raise UsageFault(
            f"--delta {delta}: must be below 1/{rows}, one in as many rows as the device has",
            "with a larger one, publishing a row at random would pass for private",
        )
    return delta


# --- what people read ------------------------------------------------------------------------------


def _zcdp(loss: int) -> str:
    return f"{loss:,} micro-zCDP"


def _facts(reading: Reading) -> list[RenderableType]:
    view, unseen = reading.view, reading.view.loss - reading.view.charged
    pure = view.epsilon if view.epsilon and view.loss else None
    return [
        facts(
            [
                ("device", view.device),
                ("lost", f"{_zcdp(view.loss)} (rho = {view.loss / 10**6:g}) as of block {view.height}"),
                ("that is", f"epsilon = {reading.epsilon:.4g} at delta = {reading.delta:g}"),
                ("tighter", _tighter(reading)),
                ("pure epsilon", None if pure is None else f"{pure / 10**6:g}, with delta = 0"),
                ("not in blocks", f"{_zcdp(unseen)} of it: released, and no block took it" if unseen else None),
                ("lifetime", _lifetime(reading)),
                ("reserved", _reserved(view)),
                ("left", None if view.free is None else _left(view.free)),
                ("hides", _unit(view)),
                ("without noise", _unbounded(view)),
                ("sampling", _NO_AMPLIFICATION),
            ]
        )
    ]


def _tighter(reading: Reading) -> str | None:
    if reading.tighter is None or not reading.view.loss:
        return None
    return f"epsilon = {reading.tighter:.4g}: all of it is Gaussian (the exact curve of continuous noise)"


def _lifetime(reading: Reading) -> str:
    if reading.left is None:
        return "no budget; set one: fedchain device budget MICRO-ZCDP"
    return f"{_zcdp(reading.view.lifetime)}: epsilon = {reading.left:.4g} at this delta; it can only be lowered"


def _reserved(view: "PrivacyView") -> str:
    count = sum(plan.reserved > 0 for plan in view.plans)
    return f"{_zcdp(view.reserved)} by {counted(count, 'plan')}" if view.reserved else "nothing"


def _unit(view: "PrivacyView") -> str | None:
    units = {plan.unit for plan in view.plans if plan.unit is not None}
    if not units:
        return None
    return "all that the device has" if units == {"device"} else "each single row, not the device as a whole"


def _left(free: int) -> str:
    if free >= 0:
        return f"{_zcdp(free)} for further plans"
    return f"nothing: its open plans were promised {_zcdp(-free)} more than there is; what comes last gets none"


def _unbounded(view: "PrivacyView") -> str | None:
    bare = [plan for plan in view.plans if plan.unit is None]
    if not bare:
        return None
    named = ", ".join(short(plan.plan) for plan in bare[:3]) + (", …" if len(bare) > 3 else "")
    return f"joined {counted(len(bare), 'plan')} that ask for none ({named}): their loss has no bound, and is not in"


def _plans(reading: Reading) -> list[RenderableType]:
    private = [plan for plan in reading.view.plans if plan.unit is not None]
    if not private:
        return []
    rows = [
        (short(one.plan), one.mechanism, one.unit, f"{one.spent:,}", f"{one.reserved:,}", one.status) for one in private
    ]
    headings = ("plan", "mechanism", "hides a", "lost", "reserved", "standing")
    return ["\nPlans with a bounded loss", listing(headings, rows, numbers=("lost", "reserved"))]


def _history(reading: Reading) -> list[RenderableType]:
    from fl.privacy.convert import epsilon_of

    if not reading.history:
        return []
    rows = [
        (
            one.height,
            minute(one.time_ms),
            short(one.plan),
            "join" if one.phase is None else f"{one.round}.{one.phase}",
            f"{one.loss:,}",
            f"{one.total:,}",
            f"{epsilon_of(one.total, reading.delta):.4g}",
        )
        for one in reading.history[-_LISTED:]
    ]
    left_out = len(reading.history) - len(rows)
    title = f"\nThe last {len(rows)} of {len(reading.history)} charges" if left_out else "\nCharges"
    headings = ("block", "time (UTC)", "plan", "round", "loss", "total", "epsilon")
    return [title, listing(headings, rows, numbers=("block", "loss", "total", "epsilon"))]


def _draw(reading: Reading, path: Path) -> None:
    from commands.privacy_figure import draw_losses

    try:
        draw_losses(reading.view, reading.history, reading.delta, path)
    except OSError as error:
        raise CommandFailed(f"can't write {path}: {error.strerror}") from None
