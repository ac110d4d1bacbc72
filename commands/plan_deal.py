"""``fedchain plan deal``: puts a committee's key, dealt or of its members' making, into a plan."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from commands.output import CommandFailed, JsonFlag, UsageFault, command, emit, example, waiting
from commands.show import counted, facts, sentence

if TYPE_CHECKING:
    from fl.plan.schema import Paillier, PaillierOwn, Plan
    from fl.secure.paillier.member import MemberKey

_MOST_FILE: Final = 1 << 16
"""Characters of a member's file that are looked at."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    told = (
        "fedchain plan deal plan.toml --member fed1… --member fed1… --out ready.toml",
        "fedchain plan deal plan.toml --own alice.member --own bob.member --out ready.toml",
    )
    app.command("deal", epilog=example(*told))(deal)


@command
def deal(
    file: Annotated[
        Path, typer.Argument(metavar="PLAN.toml", help="The plan.", exists=True, dir_okay=False, show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Where the plan with its key goes.", show_default=False),
    ],
    member: Annotated[
        list[str] | None,
        typer.Option("--member", metavar="ACCOUNT", help="A member's account; name each.", show_default=False),
    ] = None,
    own: Annotated[
        list[Path] | None,
        typer.Option(
            "--own",
            metavar="FILE",
            help="A member's own key, as fedchain keys committee writes it; name each.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    bits: Annotated[
        int,
        typer.Option("--bits", metavar="BITS", min=2048, max=4096, help="Size of a dealt modulus; a multiple of 8."),
    ] = 2048,
    as_json: JsonFlag = False,
) -> None:
    """Give a plan the key of the committee that decrypts its sums.

    Any `threshold` of the members, as the plan says, can decrypt a sum, and no fewer.
    With --member, for aggregation.type = "paillier", a key is dealt: the members' shares stand in the plan, each sealed
    for its member's account. Whoever runs this command is trusted to forget the key's factors: it keeps nothing of
    them. Deal a new key for each plan.

    With --own, for aggregation.type = "paillier-own", members bring keys that they made themselves: nobody is trusted
    to forget anything, and devices encrypt once for each member.
    """
    from chain.wholefile import write_text
    from fl.plan.bind import read_plan_text
    from fl.plan.keyline import put_key
    from fl.plan.parse import parse_draft
    from fl.plan.schema import PaillierOwn

    if bool(member) == bool(own):
        raise UsageFault("either --member or --own says who the members are", "give one of the two, for each member")
    text, count = read_plan_text(file), len(own or member or ())
    plan = parse_draft(text, str(file)).plan
    how = _need_committee(file, plan, count, brought=bool(own))
    if isinstance(how, PaillierOwn):
        key, size, trusted = _collect(how, own or [])
    else:
        key, size, trusted = _deal(how, member or [], bits)
    sent = _update_bytes(plan, key)
    write_text(out, put_key(text, key))
    emit(
        as_json,
        {"plan": str(out), "members": count, "threshold": how.threshold, "bits": size, "update_bytes": sent},
        sentence(f"{out} has the committee's key.", "green"),
        facts(
            [
                ("members", f"{count}, of whom any {how.threshold} can decrypt a sum"),
                ("modulus", f"{size} bits"),
                ("an update", f"{sent:,} bytes of a device"),
                ("trusted", trusted),
            ]
        ),
    )


def _need_committee(file: Path, plan: "Plan", count: int, *, brought: bool) -> "Paillier | PaillierOwn":
    """Return how the plan asks for a committee of so many. ``CommandFailed`` if it asks for another, or for none."""
    from fl.plan.schema import Committee, PaillierOwn

    how = plan.aggregation
    if not isinstance(how, Committee):
        raise CommandFailed(
            f"{file} asks for no committee",
            'say type = "paillier" or "paillier-own" under [aggregation], with its threshold',
        )
    if isinstance(how, PaillierOwn) != brought:
        other = "--own, whose members bring their keys" if isinstance(how, PaillierOwn) else "--member"
        raise CommandFailed(f"{file} says aggregation.type = {how.__struct_config__.tag!r}", f"that goes with {other}")
    if not how.threshold <= count <= 16:
        raise CommandFailed(
            f"{counted(count, 'member')} for a threshold of {how.threshold}",
            "name as many as the threshold, at most 16",
        )
    return how


def _deal(how: "Paillier", names: list[str], bits: int) -> tuple[bytes, int, str]:
    """Return a dealt key, its size in bits, and who is trusted."""
    from chain.address import DEFAULT_PREFIX, parse_account
    from chain.codec import encode
    from chain.errors import ChainError
    from fl.secure.paillier import deal as deal_key

    try:
        accounts = [parse_account(name, name.rpartition("1")[0] or DEFAULT_PREFIX) for name in names]
    except ChainError as error:
        raise CommandFailed(str(error), "an account's text form is what fedchain account show prints") from None
    if len(set(accounts)) < len(accounts):
        raise CommandFailed("a member is named twice", "name each once")
    with waiting(f"looking for two safe primes of {bits // 2} bits"):
        key = deal_key(accounts, how.threshold, bits)
    return encode(key), bits, "this machine, to have forgotten the key's factors"


def _collect(how: "PaillierOwn", files: list[Path]) -> tuple[bytes, int, str]:
    """Return the members' keys as a plan holds them, the size of each, and who is trusted."""
    from chain.codec import encode
    from fl.secure.paillier.member import MemberKeys, find_member_fault
    from fl.secure.paillier.own import OwnKeys, check_own_keys

    members = [_read_member(file) for file in files]
    with waiting("checking the members' keys"):
        for file, member in zip(files, members, strict=True):
            fault = find_member_fault(member)
            if fault is not None:
                raise CommandFailed(f"{file}: {fault}", "let its member make another: fedchain keys committee")
        fault = check_own_keys(OwnKeys(how.threshold, tuple(members)))
    if fault is not None:
        names = ", ".join(f"{place} = {file}" for place, file in enumerate(files))
        raise CommandFailed(fault, f"members by number: {names}")
    size = int.from_bytes(members[0].modulus, "big").bit_length()
    return encode(MemberKeys(tuple(members))), size, f"fewer than {how.threshold} members work together; no dealer"


def _read_member(file: Path) -> "MemberKey":
    from chain.codec import decode
    from chain.errors import CodecError
    from fl.secure.paillier.member import MemberKey

    try:
        with file.open(encoding="utf-8") as opened:
            return decode(bytes.fromhex(opened.read(_MOST_FILE).strip()), MemberKey)
    except (ValueError, CodecError):
        remedy = "it must be what fedchain keys committee wrote, whole"
        raise CommandFailed(f"{file} is no member's key", remedy) from None


def _update_bytes(plan: "Plan", key: bytes) -> int:
    """Return the size of an encrypted update of a plan with this key. ``CommandFailed`` if it can't be used."""
    from msgspec.structs import replace

    from fl.envelope import largest_payload
    from fl.problem import compile_problem
    from fl.secure.registry import find_faults

    problem = compile_problem(replace(plan, aggregation=replace(plan.aggregation, key=key)))
    faults = find_faults(problem)
    if faults:
        raise CommandFailed("; ".join(map(str, faults)))
    return largest_payload(problem)
