"""``fedchain model``: take a trained model from the chain, and use it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.home import HomeOption
from commands.node_call import ask, find_plan
from commands.output import JsonFlag, command, emit, example
from commands.plan_submit import PlanArgument
from commands.show import facts

if TYPE_CHECKING:
    from node.client import Client, FetchedModel

app = typer.Typer(help="Take a trained model from the chain, and use it.", no_args_is_help=True)


@app.command("export", epilog=example("fedchain model export 3f9a41c2 --out heart.npz"))
@command
def export(
    plan: PlanArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.npz", help="The file to write.", show_default=False, dir_okay=False)
    ],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a plan's global model, as it stands now, to a file that says all that is needed to use it."""
    from fl.model_file import save_model

    async def fetch(node: "Client") -> "tuple[str, FetchedModel]":
        name = await find_plan(node, plan)
        return name, await node.get_model(name)

    name, model = ask(home, fetch)
    save_model(out, model.plan, model.fixed)
    emit(
        as_json,
        {
            "file": str(out),
            "plan": name,
            "title": model.plan.title,
            "status": model.status,
            "rounds": model.rounds,
            "parameters": int(model.fixed.size),
            "digest": model.digest.hex(),
        },
        facts(
            [
                ("file", out),
                ("plan", name),
                ("title", model.plan.title),
                ("status", f"{model.status} after {model.rounds} rounds"),
                ("parameters", model.fixed.size),
                ("digest", model.digest.hex()),
            ]
        ),
    )
