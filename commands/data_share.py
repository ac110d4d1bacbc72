"""``fedchain data share``: the randomised copy of a table that a device would publish, made once and written out."""

import csv
import io
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from chain.wholefile import write_text
from commands.home import HomeOption, at_home, home_directory
from commands.output import JsonFlag, UsageFault, command, emit, example, waiting
from commands.show import counted, facts, listing, sentence, size, steps

if TYPE_CHECKING:
    from chain.number import Number
    from fl.plan.schema import Role
    from fl.privacy.local.randomise import SharedSet
    from fl.privacy.local.recipe import Recipe


@command
def share(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="The table.", exists=True, dir_okay=False, show_default=False)
    ],
    schema: Annotated[
        Path,
        typer.Option(
            "--schema",
            metavar="PLAN",
            help="The plan whose columns, bounds and categories count.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    epsilon: Annotated[
        str, typer.Option("--epsilon", metavar="E", help="Of each row, its label included.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write it here, as CSV; else nowhere.", show_default=False),
    ] = None,
    role: Annotated[
        str | None, typer.Option("--role", metavar="NAME", help="The plan's role; else its only one.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Randomise a table's rows, and see what a plan with shared rows would publish of it.

    The copy is made once and kept in the node's data directory: asked again for the same rows, schema and ε, by you or
    by a plan that its device joins (verification.replay, source = "randomised"), it is the very same. Another one would
    cost its ε again, so there is no way to it. Nothing is published here, and nothing charged: that a device does as it
    joins. Whoever hands the copy to others has to count its ε himself.
    """
    from fl.data.sources import load_dataset
    from fl.dataset import rows
    from fl.privacy.local.randomise import decode_set
    from fl.privacy.local.recipe import recipe_of
    from fl.privacy.local.text import table_of
    from fl.privacy.randomness import SYSTEM_RANDOM
    from node.jobs.sharing import randomise_once
    from storage.directory import DataDirectory

    wanted, number = _role_of(schema, role), _epsilon(epsilon)
    sets = DataDirectory.find(home_directory(home)).open_shared_sets()
    with waiting("randomising the rows"):
        table = load_dataset(data, wanted)
        shared = randomise_once(sets, wanted, number, table, SYSTEM_RANDOM)
        assert shared.binding is not None
        payload = sets.put(shared.binding, shared.payload)
        recipe = recipe_of(wanted, number)
        made = decode_set(recipe, payload, rows(table))
    if out is not None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table_of(recipe, made))
        write_text(out, text.getvalue())
    document = _document(recipe, made, payload) | {
        "data": str(data),
        "new": shared.is_new,
        "file": None if out is None else str(out),
    }
    joining = f"fedchain device run {quote(str(data))} --any-plan --consent{at_home(home)}"
    emit(as_json, document, *_shown(document), steps(("Join plans that want it:", joining)))


def _document(recipe: "Recipe", made: "SharedSet", payload: bytes) -> dict[str, Any]:
    from chain.hashing import content_id
    from fl.privacy.local.text import describe

    value = float(recipe.epsilon)
    return {
        "rows": made.rows,
        "epsilon": value,
        "rho": value * value / 2,
        "commitment": content_id(payload).hex(),
        "bytes": len(payload),
        "attributes": len(recipe.attributes),
        "told_a_row": recipe.told,
        "epsilon_an_answer": float(recipe.share),
        "mechanisms": [asdict(one) for one in describe(recipe, made)],
    }


def _shown(document: dict[str, Any]) -> list[RenderableType]:
    told = f"its label and {document['told_a_row']} of {counted(document['attributes'], 'attribute')}"
    known = facts(
        [
            ("commitment", document["commitment"]),
            ("ε", f"{document['epsilon']:g} a row, which is {document['rho']:g} zCDP (ρ)"),
            ("a row tells", f"{told}, each under an ε of {document['epsilon_an_answer']:.3g}"),
            ("size", f"{size(document['bytes'])} for {counted(document['rows'], 'row')}"),
            ("made", "just now" if document["new"] else "before: it is the same set as then"),
            ("written", document["file"]),
        ]
    )
    lines = [(one["name"], one["mechanism"], one["rows"], f"{one['error']:.3g}") for one in document["mechanisms"]]
    headings = ("column", "mechanism", "rows", "± a mean or share")
    return [known, sentence(""), listing(headings, lines, numbers=headings[2:])]


EXAMPLE = example(
    "fedchain data share patients.csv --schema plan.toml --epsilon 4 --out shared.csv",
    "fedchain data share patients.csv --schema plan.toml --epsilon 8 --json",
)


def _role_of(plan: Path, name: str | None) -> "Role":
    from fl.errors import PlanError
    from fl.plan.bind import read_draft
    from fl.plan.checks_sharing import find_unshared
    from fl.plan.schema import StatisticsPlan

    document = read_draft(plan).plan
    if isinstance(document, StatisticsPlan):
        raise UsageFault(
            f"{plan} is a plan of kind statistics: its devices share no rows, they report each at random",
            'name a plan that learns from rows: kind = "horizontal"',
        )
    roles = {role.name: role for role in document.roles}
    if name is None and len(roles) == 1:
        name = next(iter(roles))
    if name not in roles:
        raise UsageFault(f"{plan} has the roles {', '.join(roles)}", "name the one whose rows these are: --role")
    problems = tuple(find_unshared(roles[name], "roles[0]"))
    if problems:
        raise PlanError(problems)
    return roles[name]


def _epsilon(text: str) -> "Number":
    from chain.errors import CodecError
    from chain.number import Number
    from fl.plan.checks_sharing import LEAST_EPSILON
    from fl.privacy.local.thresholds import MAX_EPSILON

    try:
        epsilon = Number.of(text)
    except CodecError as error:
        raise UsageFault(f"--epsilon: {error}") from None
    if not LEAST_EPSILON <= epsilon.fraction() <= MAX_EPSILON:
        raise UsageFault(f"--epsilon {text}: it must be {float(LEAST_EPSILON):g} … {MAX_EPSILON}")
    return epsilon
