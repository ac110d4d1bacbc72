"""``fedchain node ban``, ``unban``, ``bans``: whom a running node does not speak to."""

from typing import Annotated

import typer

from commands.home import HomeOption
from commands.node_call import ask
from commands.output import JsonFlag, command, emit, example
from commands.show import listing, moment

SubjectArgument = Annotated[
    str,
    typer.Argument(metavar="WHO", help="A node's account (fed1…), or the IP address it calls from."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the group ``node``."""
    app.command("bans", epilog=example("fedchain node bans --home alice"))(bans)
    app.command("ban", epilog=example("fedchain node ban 192.0.2.7 --home alice --hours 24"))(ban)
    app.command("unban", epilog=example("fedchain node unban 192.0.2.7 --home alice"))(unban)


@command
def bans(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """List whom a running node does not speak to, and why."""
    views = ask(home, lambda node: node.bans())
    rows = [(view.subject, moment(view.until_ms), view.reason) for view in views]
    emit(as_json, {"bans": views}, listing(("who", "until", "why"), rows) if rows else "Nobody is banned.")


@command
def ban(
    subject: SubjectArgument,
    home: HomeOption = None,
    hours: Annotated[int, typer.Option("--hours", metavar="N", min=1, max=87_600, help="For how long.")] = 24,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why: for the log and the list of bans.")
    ] = "banned by the operator",
    as_json: JsonFlag = False,
) -> None:
    """Part with a node or a host, and do not speak to it for a while."""
    ask(home, lambda node: node.ban(subject, minutes=hours * 60, reason=reason))
    emit(as_json, {"banned": subject, "hours": hours}, f"{subject} is banned for {hours} h.")


@command
def unban(subject: SubjectArgument, home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Let a banned node or host back in."""
    ask(home, lambda node: node.unban(subject))
    emit(as_json, {"unbanned": subject}, f"{subject} may connect again.")
