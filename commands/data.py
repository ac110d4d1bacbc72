"""``fedchain data``: public data sets, and tables cut into devices' files."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.progress import Progress, TaskID

from chain.wholefile import write_text
from commands import data_share, data_store
from commands.groups import Group
from commands.output import JsonFlag, UsageFault, command, diagnostics, emit, example, waiting
from commands.show import counted, facts, listing, sentence, size, steps

app = typer.Typer(
    cls=Group, help="Fetch public data sets, cut tables into devices' files, keep a device's own.", no_args_is_help=True
)
app.add_typer(data_store.app, name="store")
app.command("share", epilog=data_share.EXAMPLE)(data_share.share)


@app.command("fetch", epilog=example("fedchain data fetch a9a --out data/a9a", "fedchain data fetch mnist --from DIR"))
@command
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set: a9a, mnist or w8a.", show_default=False)],
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE|DIR",
            help="Take the originals from here; nothing is downloaded. Can be repeated.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where they go; else data/NAME.", show_default=False),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Get a public data set, checked by its pinned SHA-256, as files that fedchain reads.

    What is there already is not fetched again; a download that was interrupted goes on where it stopped.
    """
    from fl.data.fetch import digest_of
    from fl.data.fetch import fetch as get
    from fl.data.known import KNOWN_SETS

    if name not in KNOWN_SETS:
        raise UsageFault(f"data set {name!r} is unknown", f"known are {', '.join(sorted(KNOWN_SETS))}")
    directory = Path("data", name) if out is None else out
    with _Download() as download:
        files = get(name, directory, sources=sources or (), progress=download.show)
    found = [{"file": str(file), "bytes": file.stat().st_size, "sha256": digest_of(file, False)} for file in files]
    lines = [sentence(f"{size(file.stat().st_size):>9}  {file}") for file in files]
    emit(as_json, {"name": name, "files": found}, *lines, steps(("Cut it into devices' files:", _cut(files))))


@app.command("make", epilog=example("fedchain data make authors --devices 1000 --out build/authors"))
@command
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set: authors.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where it goes.", show_default=False)],
    devices: Annotated[
        int, typer.Option("--devices", metavar="N", min=20, max=10_000, help="Devices; with fewer, rows shrink along.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same rows.")] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Make a data set that nobody can publish: the federation of 10,000 authors, on posts made up from a seed.

    Writes all devices to one file, and the plan that learns from them.
    """
    from fl.data.authors import authors_plan, make_fleet
    from fl.data.fetch import digest_of
    from fl.plan.render import render_plan

    if name != "authors":
        raise UsageFault(f"data set {name!r} is unknown", "known is authors; fedchain data fetch gets public ones")
    out.mkdir(parents=True, exist_ok=True)
    file, plan = out / "authors.fleet.npz", out / "plan.toml"
    with waiting("making posts"):
        fleet, figures = make_fleet(file, devices, seed)
    write_text(plan, render_plan(authors_plan(devices), comments=True))
    words = fleet.data.indices.size / figures.rows
    document = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": digest_of(file, False),
        "plan": str(plan),
        "figures": asdict(figures) | {"rare_share": figures.rare_share, "nonzeros_a_row": words},
    }
    found = {
        "devices": f"{figures.devices:,}",
        "rows": f"{figures.rows:,}, {figures.least_rows:,} … {figures.most_rows:,} a device",
        "parameters": f"{figures.parameters:,}, the intercept among them",
        "rare": f"{figures.rare_share:.1%} of the features on fewer than {figures.rare_below:,} devices",
        "nonzeros": f"{words:.1f} a row",
        "written": f"{file}, {plan}",
    }
    emit(as_json, document, facts(found.items()), steps(("Learn from it:", f"fedchain train {plan} --data {file}")))


def _cut(files: Sequence[Path]) -> str:
    """Return the command that makes devices of a fetched set: its table, and its test table if it has one."""
    test = next((file for file in files if ".test." in file.name), None)
    table = next(file for file in files if file != test)
    kept = "--test-percent 20" if test is None else f"--test {quote(str(test))}"
    return f"fedchain data split {quote(str(table))} {kept} --devices 8 --out parts"


class _Download:
    """Shows how a download goes on: a bar on a terminal, nothing elsewhere. A context manager."""

    def __init__(self) -> None:
        self._bar = Progress(*Progress.get_default_columns(), console=diagnostics, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if diagnostics.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if diagnostics.is_terminal:
            self._bar.stop()

    def show(self, name: str, have: int, total: int) -> None:
        """Show that ``have`` of ``total`` bytes of a file have come."""
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name)
        self._bar.update(self._tasks[name], completed=have, total=total)


@app.command(
    "split",
    epilog=example(
        "fedchain data split table.csv --devices 8 --test-percent 20 --out parts",
        "fedchain data split digits.npz --devices 10 --labels 2 --out parts",
    ),
)
@command
def split(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The table.", exists=True, dir_okay=False, show_default=False)
    ],
    devices: Annotated[int, typer.Option("--devices", metavar="N", min=1, help="Devices to make.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where their files go.", show_default=False)],
    test: Annotated[
        Path | None,
        typer.Option(
            "--test",
            metavar="FILE",
            help="A table of test rows, cut in the same way.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option(
            "--labels",
            metavar="N",
            min=1,
            help="Classes that each device holds; else shares of growing size.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="NAME", help="The label's column, for --labels.", show_default=False),
    ] = None,
    holdout: Annotated[
        int, typer.Option("--holdout", metavar="N", min=0, help="Rows set aside as the public holdout set.")
    ] = 0,
    test_percent: Annotated[
        int,
        typer.Option(
            "--test-percent", metavar="N", min=0, max=90, help="Share of each device's rows kept for testing."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same files.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Cut a table into one file a device, as localnet run and train take them.

    By default device k gets a share proportional to k; with --labels N it gets rows of N classes alone, so that no
    device looks like another. NAME.test.EXT is a device's test part, holdout.EXT the public holdout set.
    """
    from fl.data.formats import read_table
    from fl.data.split import Split, split_files

    if label is not None and labels is None:
        raise UsageFault("--label names the column for --labels N, which is not given")
    if test is not None and test_percent:
        raise UsageFault("--test and --test-percent contradict each other", "give one of the two")
    cut = Split(devices, labels, label, holdout, test_percent, seed)
    with waiting("cutting the table"):
        files = split_files(read_table(file), None if test is None else read_table(test), out, cut)
    found = [{"file": path.name, "rows": read_table(path).rows, "bytes": path.stat().st_size} for path in files]
    rows = [(one["rows"], size(int(str(one["bytes"]))), one["file"]) for one in found]
    emit(
        as_json,
        {"out": str(out), "files": found},
        listing(("rows", "size", "file"), rows, numbers=("rows", "size")),
        sentence(f"\n{counted(len(found), 'file')} in {out}"),
    )
