"""The command line, ``fedchain``: each group of commands is a module of ``commands``; this file puts them together.

Rules of this file: no logic, and nothing heavy imported, so that ``fedchain --help`` answers at once.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from commands import account, config, data, db, device, init, keys, localnet, model, node, plan, train

app = typer.Typer(
    name="fedchain",
    no_args_is_help=True,
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
app.add_typer(keys.app, name="keys")
app.add_typer(config.app, name="config")
node.add_to(app)
account.add_to(app)
app.add_typer(plan.app, name="plan")
app.add_typer(device.app, name="device")
app.add_typer(model.app, name="model")
app.add_typer(data.app, name="data")
app.add_typer(db.app, name="db")
train.add_to(app)
app.add_typer(localnet.app, name="localnet")


def main() -> None:
    """Run the command line."""
    app(prog_name="fedchain")


if __name__ == "__main__":
    main()
