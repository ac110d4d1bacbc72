"""``fedchain keys committee``: a member's own key for a committee, made of its account's key."""

from pathlib import Path
from typing import Annotated

import typer

from commands.home import HomeOption, home_directory
from commands.output import JsonFlag, command, emit, example, waiting
from commands.password import PasswordFileOption, load_key
from commands.show import facts, sentence


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    told = "fedchain keys committee --home alice --out alice.member"
    app.command("committee", epilog=example(told))(committee)


@command
def committee(
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="Where the public part goes, for a plan's owner.", show_default=False
        ),
    ],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The key of the account that will be the member.")
    ] = "node",
    home: HomeOption = None,
    bits: Annotated[
        int, typer.Option("--bits", metavar="BITS", min=2048, max=3072, help="Size of the modulus; a multiple of 8.")
    ] = 2048,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make this account's key for a committee that nobody deals keys to.

    The owner of a plan with aggregation.type = "paillier-own" collects such files (fedchain plan deal --own). The
    secret part follows from the account's key and is kept nowhere else: whoever has the account's key has it. The
    node that runs with this account decrypts by itself. Each call makes another key; one key may serve many plans.
    """
    import os

    from chain.address import format_account
    from chain.codec import encode
    from chain.wholefile import write_text
    from commands.output import UsageFault
    from fl.secure.paillier.member import make_member_key
    from storage.directory import DataDirectory

    if bits % 8:
        raise UsageFault(f"--bits {bits} is no multiple of 8", "2048 is what plans expect")
    directory = DataDirectory.find(home_directory(home))
    key = load_key(directory, name, password_file)
    with waiting(f"looking for two safe primes of {bits // 2} bits"):
        member = make_member_key(key, os.urandom(32), bits)
    write_text(out, encode(member).hex() + "\n")
    account = format_account(member.account, directory.genesis().prefix)
    emit(
        as_json,
        {"file": str(out), "account": account, "bits": bits},
        sentence(f"{out} has the public part of a committee key.", "green"),
        facts(
            [
                ("member", account),
                ("modulus", f"{bits} bits"),
                ("next", "send the file to the plan's owner, who says fedchain plan deal --own"),
                ("secret", "follows from the account's key; nothing else to keep"),
            ]
        ),
    )
