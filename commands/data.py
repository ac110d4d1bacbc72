"""``fedchain data``: public data sets, and tables cut into devices' files."""

from pathlib import Path
from typing import Annotated

import typer

from commands.output import JsonFlag, UsageFault, command, emit, example
from commands.show import listing, size

app = typer.Typer(help="Fetch public data sets; cut a table into devices' files.", no_args_is_help=True)


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
    devices: Annotated[int, typer.Option("--devices", min=1, help="Devices to make.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where their files go.", show_default=False)],
    test: Annotated[
        Path | None,
        typer.Option(
            "--test", help="A table of test rows, cut in the same way.", exists=True, dir_okay=False, show_default=False
        ),
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option(
            "--labels", min=1, help="Classes that each device holds; else shares of growing size.", show_default=False
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="The label's column, for --labels.", show_default=False)
    ] = None,
    holdout: Annotated[int, typer.Option("--holdout", min=0, help="Rows set aside as the public holdout set.")] = 0,
    test_percent: Annotated[
        int, typer.Option("--test-percent", min=0, max=90, help="Share of each device's rows kept for testing.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same files.")] = 0,
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
    files = split_files(read_table(file), None if test is None else read_table(test), out, cut)
    found = [{"file": path.name, "rows": read_table(path).rows, "bytes": path.stat().st_size} for path in files]
    rows = [(one["rows"], size(int(str(one["bytes"]))), one["file"]) for one in found]
    emit(
        as_json,
        {"out": str(out), "files": found},
        listing(("rows", "size", "file"), rows, numbers=("rows", "size")),
        f"\n{len(found)} files in {out}",
    )
