"""Twelve stations, four gateways, one network: PM2.5 six hours ahead, and no gateway sees a station's reading.

    python examples/air/run.py [--out build/air] [--image docs/images/air.png]

1. Four gateways open their doors; each district's three stations share every reading among all four of them.
2. Each gateway collects the sums of its district and makes a table of means.
3. The gateways train on a localnet, as four ordinary devices of examples/air/plan.toml.
4. The gateways hand the model out; each station fetches it and forecasts from its own readings, on its own.
5. For comparison the same plan learns from the stations' raw readings, pooled in the districts' files.

Everything goes through the command line, as it would on many machines. Some minutes.
"""

import argparse
import csv
import gzip
import io
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from math import sqrt
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tables import TEST_FROM, make_rows, parts, read_series

HERE: Final = Path(__file__).parent
DISTRICTS: Final = {
    "north": ("Changping", "Dingling", "Huairou"),
    "west": ("Gucheng", "Guanyuan", "Wanliu"),
    "east": ("Aotizhongxin", "Nongzhanguan", "Shunyi"),
    "centre": ("Dongsi", "Tiantan", "Wanshouxigong"),
}
FIELDS: Final = {"PM2.5": (0, 1000, 0), "TEMP": (-40, 60, 1), "PRES": (900, 1100, 1), "DEWP": (-60, 40, 1)}
WIND: Final = {"north": (-30, 30, 1), "east": (-30, 30, 1)}
THRESHOLD: Final = 3
LEAST: Final = 2
SHOWN: Final = ("Wanliu", "2016-12-01", "2016-12-22")
"""Whose forecast is drawn, and from when to when."""
_COLOURS: Final = {"as now": "#94a3b8", "from sums": "#c2410c", "from raw readings": "#1d4ed8"}


def fedchain(*arguments: object) -> dict[str, object]:
    """Run a command with --json and return its document."""
    command = [sys.executable, "-m", "cli", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def station_text(station: str) -> str:
    """Return a station's readings as CSV."""
    return gzip.decompress((HERE / "data" / f"{station}.csv.gz").read_bytes()).decode()


def make_keys(out: Path) -> dict[str, str]:
    """Make a key for each gateway and station; return accounts by lower-case name."""
    names = [*DISTRICTS, *(station.lower() for stations in DISTRICTS.values() for station in stations)]
    return {name: str(fedchain("keys", "new", name, "--out", out)["account"]) for name in names}


def free_ports(count: int) -> list[int]:
    """Return ports that were free just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def write_groups(out: Path, accounts: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, Path]:
    """Write a sharing group's file for each district: its own gateway comes first and is the collector."""
    files = {}
    for district, stations in DISTRICTS.items():
        devices = ", ".join(f'"{accounts[station.lower()]}"' for station in stations)
        text = (
            f'name = "{district}"\nmode = "shares"\nthreshold = {THRESHOLD}\nleast = {LEAST}\ndevices = [{devices}]\n'
        )
        for gateway in (district, *(other for other in DISTRICTS if other != district)):
            text += f'\n[[gateways]]\naccount = "{accounts[gateway]}"\nurl = "http://127.0.0.1:{ports[gateway]}"\n'
        for name, (low, high, decimals) in {**FIELDS, **WIND}.items():
            text += f'\n[[fields]]\nname = "{name}"\nlow = {low}\nhigh = {high}\ndecimals = {decimals}\n'
        files[district] = out / f"{district}.toml"
        files[district].write_text(text, encoding="utf-8")
    return files


def open_gateways(out: Path, groups: Mapping[str, Path], ports: Mapping[str, int], stack: ExitStack) -> None:
    """Start the gateways and wait until each listens; they are stopped with the stack."""
    for district in DISTRICTS:
        command = [sys.executable, "-m", "cli", "iot", "gateway", *map(str, groups.values()), "--json"]
        command += ["--key", str(out / "keys" / f"{district}.json"), "--out", str(out / "gateways" / district)]
        command += ["--listen", f"127.0.0.1:{ports[district]}", "--model", str(out / "net" / "model.npz")]
        log = stack.enter_context((out / f"gateway-{district}.log").open("w"))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        assert process.stdout is not None
        stack.callback(process.stdout.close)
        if not process.stdout.readline():
            raise SystemExit(f"the gateway of {district} did not start: see {log.name}")


def stream(out: Path, groups: Mapping[str, Path]) -> None:
    """Let each station share its readings, two stations at a time."""

    def send(district: str, station: str) -> None:
        readings = out / "stations" / f"{station}.csv"
        readings.write_text(station_text(station), encoding="utf-8")
        sent = fedchain("iot", "stream", groups[district], readings, "--key", out / "keys" / f"{station.lower()}.json")
        print(f"  {station}: {sent['sent']} readings shared, {sent['incomplete']} incomplete ones left out")

    pairs = [(district, station) for district, stations in DISTRICTS.items() for station in stations]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda pair: send(*pair), pairs))


def write_tables(directory: Path, name: str, rows: Sequence[list[object]]) -> None:
    """Write the tables of a device: training rows, and test rows of the last year."""
    directory.mkdir(parents=True, exist_ok=True)
    made = parts(rows)
    (directory / f"{name}.csv").write_text(made["train"], encoding="utf-8")
    (directory / f"{name}.test.csv").write_text(made["test"], encoding="utf-8")


def collect(out: Path, groups: Mapping[str, Path]) -> None:
    """Let each gateway collect its district's sums, and make its table of them."""
    for district, group in groups.items():
        sums, place = out / f"{district}.csv", out / "gateways" / district
        keys = ("--key", out / "keys" / f"{district}.json")
        found = fedchain("iot", "collect", group, *keys, "--out", place, "--to", sums, "--all")
        if found["faults"]:
            raise SystemExit(f"{district}: {found['faults']}")
        print(f"  {district}: {found['rows']} sums, {found['too_few']} times with fewer than {LEAST} stations")
        write_tables(out / "sums", district, make_rows(read_series(sums.read_text(encoding="utf-8"))))


def write_raw(out: Path) -> None:
    """Write what no gateway ever sees: the stations' rows, each district's in one file, and each station's own."""
    for district, stations in DISTRICTS.items():
        rows = {station: make_rows(read_series(station_text(station))) for station in stations}
        write_tables(out / "raw", district, [row for each in rows.values() for row in each])
        for station, each in rows.items():
            write_tables(out / "stations", f"{station}.rows", each)


def forecast(model: Path, station: str, out: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return times, PM2.5 as it came, as forecast by a model, and as it was six hours before: a station's last year."""
    table = out / "stations" / f"{station}.rows.test.csv"
    said = fedchain("model", "predict", model, table)["predictions"]
    assert isinstance(said, list)
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    came, now = ([float(row[name]) for row in rows] for name in ("next", "PM2.5"))
    return [row["time"] for row in rows], np.array(came), np.array(said), np.array(now)


def measure(out: Path, groups: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Return each station's root mean square error by each way to forecast; the last one, "all", is of all rows."""
    squares: dict[str, dict[str, np.ndarray]] = {}
    for district, stations in DISTRICTS.items():
        for station in stations:
            fetched = out / "fetched" / f"{station}.npz"
            fetched.parent.mkdir(exist_ok=True)
            fedchain("iot", "model", groups[district], "--to", fetched)
            _, came, from_sums, now = forecast(fetched, station, out)
            _, _, from_raw, _ = forecast(out / "raw-model" / "model.npz", station, out)
            said = {"as now": now, "from sums": from_sums, "from raw readings": from_raw}
            squares[station] = {way: (each - came) ** 2 for way, each in said.items()}
    squares["all"] = {way: np.concatenate([each[way] for each in squares.values()]) for way in _COLOURS}
    return {name: {way: sqrt(float(each.mean())) for way, each in ways.items()} for name, ways in squares.items()}


def draw(errors: Mapping[str, Mapping[str, float]], out: Path, image: Path) -> None:
    """Draw the errors by station, and one station's forecasts for some weeks."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    for number, (way, colour) in enumerate(_COLOURS.items()):
        places = np.arange(len(errors)) + (number - 1) * 0.27
        left.bar(
            places,
            [each[way] for each in errors.values()],
            0.27,
            color=colour,
            label=f"{way} ({errors['all'][way]:.1f})",
        )
    left.set_xticks(np.arange(len(errors)), list(errors), rotation=55, ha="right")
    left.set_ylim(0, 1.4 * max(each["as now"] for each in errors.values()))
    left.set_ylabel("root mean square error, µg/m³")
    left.set_title("PM2.5 six hours ahead, March 2016 to February 2017", fontsize=10)
    left.legend(title="forecast (all stations)", fontsize=8)
    station, first, last = SHOWN
    times, came, said, _ = forecast(out / "fetched" / f"{station}.npz", station, out)
    kept = [place for place, time in enumerate(times) if first <= time < last]
    right.plot(came[kept], color="#334155", label="measured")
    right.plot(said[kept], color=_COLOURS["from sums"], label="forecast at the station, from the model of sums")
    right.set_xticks(range(0, len(kept), 16), [times[place][5:10] for place in kept[::16]])
    right.set_title(f"{station}: PM2.5 six hours later, µg/m³", fontsize=10)
    right.legend(fontsize=8)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=110)


def main() -> int:
    """Run everything; write summary.json and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/air"))
    parser.add_argument("--image", type=Path, default=None)
    given = parser.parse_args()
    out = given.out
    shutil.rmtree(out, ignore_errors=True)
    for name in ("keys", "stations"):
        (out / name).mkdir(parents=True)
    accounts, ports = make_keys(out / "keys"), dict(zip(DISTRICTS, free_ports(len(DISTRICTS)), strict=True))
    groups, plan = write_groups(out, accounts, ports), HERE / "plan.toml"
    with ExitStack() as stack:
        open_gateways(out, groups, ports, stack)
        print("Stations share their readings among four gateways:")
        stream(out, groups)
        print("Each gateway collects the sums of its district:")
        collect(out, groups)
        print("The gateways train on a localnet:")
        chain = fedchain("localnet", "run", plan, "--data", out / "sums", "--out", out / "net", "--miners", 2)
        write_raw(out)
        print("The same plan on raw readings, for comparison:")
        raw = fedchain("train", plan, "--data", out / "raw", "--out", out / "raw-model")
        print("The stations fetch the model and forecast:")
        errors = measure(out, groups)
        draw(errors, out, given.image or out / "air.png")
    summary = {"rmse": errors, "test_from": TEST_FROM, "chain": chain, "raw": raw}
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    for way, error in errors["all"].items():
        print(f"  {way:18} {error:6.2f} µg/m³")
    print(f"{out / 'summary.json'}, {given.image or out / 'air.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
