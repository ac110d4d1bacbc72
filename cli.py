"""The command line, ``fedchain``: each group of commands is a module of ``commands``; this file puts them together.

Rules of this file: no logic, and nothing heavy imported, so that ``fedchain --help`` answers at once.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from commands import (
    account,
    config,
    data,
    db,
    device,
    fleet,
    init,
    iot,
    keys,
    localnet,
    model,
    node,
    plan,
    privacy,
    simulate,
    stake,
    train,
    upgrade,
)
from commands.groups import Group
from commands.output import PANEL_LEARNING, PANEL_LEDGER, PANEL_NODE, example

app = typer.Typer(
    cls=Group,
    name="fedchain",
    no_args_is_help=True,
    epilog=example("fedchain plan new --data DIR --out plan.toml", "fedchain localnet run plan.toml --data DIR"),
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedchain {version('fedchain')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """A network that learns together with no server: a blockchain node for federated learning."""


init.add_to(app)
node.add_to(app)
account.add_to(app)
stake.add_to(app)
train.add_to(app)
privacy.add_to(app)
fleet.add_to(app)
simulate.add_to(app)
for name, group, panel in (
    ("stake", stake.app, PANEL_LEDGER),
    ("evidence", stake.evidence_app, PANEL_LEDGER),
    ("keys", keys.app, PANEL_NODE),
    ("config", config.app, PANEL_NODE),
    ("device", device.app, PANEL_NODE),
    ("db", db.app, PANEL_NODE),
    ("upgrade", upgrade.app, PANEL_NODE),
    ("plan", plan.app, PANEL_LEARNING),
    ("model", model.app, PANEL_LEARNING),
    ("data", data.app, PANEL_LEARNING),
    ("iot", iot.app, PANEL_LEARNING),
    ("localnet", localnet.app, PANEL_LEARNING),
):
    app.add_typer(group, name=name, rich_help_panel=panel)


def main() -> None:
    """Run the command line."""
    app(prog_name="fedchain")


if __name__ == "__main__":
    main()
