"""``fedchain plan deal``: makes the key of a committee that will decrypt a plan's sums, and writes it into the plan."""

from pathlib import Path
from typing import Annotated

import typer

from commands.output import CommandFailed, JsonFlag, command, emit, example, waiting
from commands.show import facts, sentence


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    told = "fedchain plan deal plan.toml --member fed1… --member fed1… --out ready.toml"
    app.command("deal", epilog=example(told))(deal)


@command
def deal(
    file: Annotated[
        Path, typer.Argument(metavar="PLAN.toml", help="The plan.", exists=True, dir_okay=False, show_default=False)
    ],
    member: Annotated[
        list[str],
        typer.Option("--member", metavar="ACCOUNT", help="A member's account; name each.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Where the plan with its key goes.", show_default=False),
    ],
    bits: Annotated[
        int, typer.Option("--bits", metavar="BITS", min=2048, max=4096, help="Size of the modulus; a multiple of 8.")
    ] = 2048,
    as_json: JsonFlag = False,
) -> None:
    """Make the key of the committee that decrypts the plan's sums.

    Any `threshold` of the members, as the plan says, can decrypt a sum, and no fewer. Their shares of the key stand in
    the plan, each sealed for its member's account. Whoever runs this command is trusted to forget the key's factors: it
    keeps nothing of them. Deal a new key for each plan.
    """
    from chain.address import DEFAULT_PREFIX, parse_account
    from chain.codec import encode
    from chain.errors import ChainError
    from chain.wholefile import write_text
    from fl.plan.bind import read_plan_text
    from fl.plan.keyline import put_key
    from fl.plan.parse import parse_draft
    from fl.plan.schema import Paillier
    from fl.secure.paillier import deal as deal_key

    text = read_plan_text(file)
    how = parse_draft(text).plan.aggregation
    if not isinstance(how, Paillier):
        raise CommandFailed(
            f"{file} asks for no committee", 'say type = "paillier" under [aggregation], with its threshold'
        )
    if not how.threshold <= len(member) <= 16:
        raise CommandFailed(
            f"{len(member)} members for a threshold of {how.threshold}", "name as many as the threshold, at most 16"
        )
    try:
        accounts = [parse_account(name, name.rpartition("1")[0] or DEFAULT_PREFIX) for name in member]
    except ChainError as error:
        raise CommandFailed(str(error), "an account's text form is what fedchain account show prints") from None
    if len(set(accounts)) < len(accounts):
        raise CommandFailed("a member is named twice", "name each once")
    with waiting(f"looking for two safe primes of {bits // 2} bits"):
        key = deal_key(accounts, how.threshold, bits)
    write_text(out, put_key(text, encode(key)))
    emit(
        as_json,
        {"plan": str(out), "members": len(accounts), "threshold": how.threshold, "bits": bits},
        sentence(f"{out} has the committee's key.", "green"),
        facts(
            [
                ("members", f"{len(accounts)}, of whom any {how.threshold} can decrypt a sum"),
                ("modulus", f"{bits} bits"),
                ("trusted", "this machine, to have forgotten the key's factors"),
            ]
        ),
    )
