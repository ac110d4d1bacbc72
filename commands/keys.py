"""``fedchain keys``: the keys of a data directory. Their secrets are never shown."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chain.address import DEFAULT_PREFIX, format_account
from chain.keys import KeyPair
from commands import keys_committee
from commands.groups import Group
from commands.home import HomeOption, home_directory
from commands.output import JsonFlag, command, emit, example
from commands.password import PasswordFileOption, new_password
from commands.show import facts, listing

app = typer.Typer(cls=Group, help="The keys of a data directory.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The key's name.", show_default=False)]


@app.command("new", epilog=example("fedchain keys new savings --password", "fedchain keys new node --out my-key"))
@command
def new(
    name: NameArgument,
    home: HomeOption = None,
    ask_password: Annotated[
        bool, typer.Option("--password", metavar="", help="Encrypt the key with a password, asked for here.")
    ] = False,
    password_file: PasswordFileOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Keep it here instead, for a network that does not exist yet: fedchain init --key takes it.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key and keep it under a name."""
    from storage.directory import DataDirectory
    from storage.keystore import KeyFiles

    if out is None:
        directory = DataDirectory.find(home_directory(home))
        prefix, keys = directory.genesis().prefix, directory.keystore()
    else:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        prefix, keys = DEFAULT_PREFIX, KeyFiles(out)
    password = new_password(ask_password, password_file)
    info = keys.add(name, KeyPair.generate(), password)
    shown = _shown(info.name, format_account(info.account, prefix), info.is_encrypted)
    shown["file"] = str(keys.path / f"{name}.json")
    emit(as_json, shown, _facts(shown))


@app.command("list", epilog=example("fedchain keys list --home alice"))
@command
def list_(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """List the keys."""
    from storage.directory import DataDirectory

    directory = DataDirectory.find(home_directory(home))
    prefix = directory.genesis().prefix
    keys = [
        _shown(info.name, format_account(info.account, prefix), info.is_encrypted)
        for info in directory.keystore().list_keys()
    ]
    rows = [(key["name"], "yes" if key["encrypted"] else "no", key["account"]) for key in keys]
    emit(as_json, {"keys": keys}, listing(("name", "password", "account"), rows))


@app.command("show", epilog=example("fedchain keys show node --home alice"))
@command
def show(name: NameArgument = "node", home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Show a key's account. The node's own key is named node."""
    from storage.directory import DataDirectory

    directory = DataDirectory.find(home_directory(home))
    info = directory.keystore().find(name)
    shown = _shown(info.name, format_account(info.account, directory.genesis().prefix), info.is_encrypted)
    shown["public_key"] = info.account.hex()
    shown["file"] = str(directory.keystore().path / f"{name}.json")
    emit(as_json, shown, _facts(shown))


def _shown(name: str, account: str, encrypted: bool) -> dict[str, Any]:
    return {"name": name, "account": account, "encrypted": encrypted}


def _facts(shown: dict[str, Any]) -> Any:
    return facts(
        [
            ("name", shown["name"]),
            ("account", shown["account"]),
            ("password", "yes" if shown["encrypted"] else "no"),
            ("public key", shown.get("public_key")),
            ("file", shown.get("file")),
        ]
    )


keys_committee.add_to(app)
