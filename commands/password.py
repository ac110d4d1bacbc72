"""Where the password of a key comes from: a file, or a question on the terminal. Never an argument that others see."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chain.keys import KeyPair
from commands.output import CommandFailed, UsageFault

if TYPE_CHECKING:
    from storage.directory import DataDirectory

PasswordFileOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="A file whose first line is the key's password.",
        show_default=False,
    ),
]


def new_password(wanted: bool, file: Path | None) -> str | None:
    """Return the password for a new key: from the file, asked for twice, or None for a key without one."""
    if wanted and file is not None:
        raise UsageFault("--password and --password-file contradict each other", "give one of the two")
    if file is not None:
        return read_password(file)
    if not wanted:
        return None
    _need_terminal()
    return str(typer.prompt("Password for the key", hide_input=True, confirmation_prompt=True, err=True))


def read_password(file: Path) -> str:
    """Return the first line of a password file. ``CommandFailed`` if it is empty or no text."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise CommandFailed(f"{file}: is not UTF-8 text") from None
    if not lines or not lines[0]:
        raise CommandFailed(f"{file}: its first line is empty; it must be the password")
    return lines[0]


def read_password_of(directory: "DataDirectory", name: str, file: Path | None) -> str | None:
    """Return the password of a key in a data directory: from the file, else asked for if the key has one."""
    if file is not None:
        return read_password(file)
    if not directory.keystore().find(name).is_encrypted:
        return None
    return ask_password(f"Password of the key {name!r}")


def ask_password(question: str, instead: str = "--password-file") -> str:
    """Return a password that is asked for on the terminal. Without one ``UsageFault`` names the option ``instead``."""
    _need_terminal(instead)
    return str(typer.prompt(question, hide_input=True, err=True))


def load_key(directory: "DataDirectory", name: str, file: Path | None) -> KeyPair:
    """Return a key of a data directory, opened with its password if it has one."""
    return directory.keystore().load(name, read_password_of(directory, name, file))


def _need_terminal(instead: str = "--password-file") -> None:
    if not sys.stdin.isatty():
        raise UsageFault("the password can't be asked for: standard input is no terminal", f"use {instead}")
