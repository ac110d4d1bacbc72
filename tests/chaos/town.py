"""A testnet of real processes on a ground: laid out, started, stopped, and which of its nodes are being harmed now."""

import asyncio
import csv
import re
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final, Literal

from node.addresses import join_address, split_address
from node.config import read_config, render_config
from node.localnet.homes import Layout, lay_out
from node.localnet.processes import NodeHome, NodeProcess, child_environment, last_lines
from node.localnet.spec import LocalnetSpec
from tests.chaos.ground import Ground

HEART: Final = Path(__file__).parents[2] / "examples" / "heart"
_NEIGHBOURS: Final = 4


@dataclass(frozen=True, slots=True)
class TownSpec:
    """How large, how long, which engine."""

    place: Path
    nodes: int
    devices: int
    rounds: int
    block_ms: int
    seed: int
    engine: Literal["pow", "pos"] = "pow"
    plan: str = "plan"
    """Which of the heart example's plans."""


def divide_data(to: Path, devices: int) -> None:
    """Divide the heart example's hospitals into as many device files as are asked for, row by row in turn."""
    to.mkdir(parents=True)
    hospitals = sorted(path for path in (HEART / "data").glob("*.csv") if "." not in path.stem)
    hospitals = [path for path in hospitals if path.stem != "holdout"]
    shares = [devices // len(hospitals) + (place < devices % len(hospitals)) for place in range(len(hospitals))]
    for hospital, share in zip(hospitals, shares, strict=True):
        head, *rows = list(csv.reader(hospital.read_text().splitlines()))
        for part in range(share):
            with (to / f"{hospital.stem}-{part + 1}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([head, *rows[part::share]])
    shutil.copy(HEART / "data" / "holdout.csv", to)


def write_plan(to: Path, data: Path, devices: int, name: str) -> None:
    """Write a plan of the heart example for so many devices, which may be away for long."""
    text = (HEART / f"{name}.toml").read_text()
    changes = {
        "min_devices = 3": f"min_devices = {max(2, devices // 2)}",
        "goal_devices = 4": f"goal_devices = {devices}",
        "max_devices = 4": f"max_devices = {devices}",
        "min_samples = 20": "min_samples = 5",
        "retries = 3": "retries = 20",
        "enrol_blocks = 60": "enrol_blocks = 400",
    }
    away = {"decrypt_blocks = 50": "decrypt_blocks = 1000", "share_blocks = 30": "share_blocks = 100"}
    away['file = "data/holdout.csv"'] = f'file = "{data / "holdout.csv"}"'
    changes |= {old: new for old, new in away.items() if re.search(rf"^{re.escape(old)}", text, re.MULTILINE)}
    for old, new in changes.items():
        if old not in text:
            raise LookupError(f"{HEART / name}.toml has no line {old!r} any more")
        text = re.sub(rf"^{re.escape(old)}", new, text, flags=re.MULTILINE)
    to.write_text(text)


class Town:
    """The nodes, numbered miners first, and the processes that run them."""

    def __init__(self, spec: TownSpec, ground: Ground) -> None:
        self.spec = spec
        self.ground = ground
        data = spec.place / "data"
        divide_data(data, spec.devices)
        write_plan(spec.place / "plan.toml", data, spec.devices, spec.plan)
        self.layout: Layout = lay_out(
            LocalnetSpec(
                spec.place / "plan.toml",
                data,
                spec.place / "net",
                miners=spec.nodes,
                engine=spec.engine,
                block_ms=spec.block_ms,
                seed=spec.seed,
                rounds=spec.rounds,
            )
        )
        self.numbers = {home.name: number for number, home in enumerate(self.layout.homes)}
        self.skews: dict[str, int] = {}
        self.processes: dict[str, NodeProcess] = {}
        self.harmed: set[str] = set()
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        self.peaks: dict[str, float] = {}
        self._place_on_ground()

    def _place_on_ground(self) -> None:
        """Give every node its address on the ground and a few neighbours to begin with."""
        random = Random(self.spec.seed)
        addresses: dict[str, str] = {}
        for home in self.layout.homes:
            port = read_config(home.path / "config.toml").network.port
            addresses[home.name] = join_address(self.ground.host(self.numbers[home.name]), port)
        for home in self.layout.homes:
            config = read_config(home.path / "config.toml")
            others = [other.name for other in self.layout.miners if other is not home and other.name != home.name]
            near = random.sample(others, min(_NEIGHBOURS, len(others)))
            host, port = split_address(addresses[home.name])
            network = replace(config.network, host=host, port=port, connect=tuple(addresses[name] for name in near))
            rpc = replace(config.rpc, host=self.ground.rpc_host(self.numbers[home.name]))
            (home.path / "config.toml").write_text(render_config(replace(config, network=network, rpc=rpc)))

    # --- processes ---

    async def start(self, home: NodeHome) -> None:
        """Start a node's process where the ground has it, with its clock as wrong as it is."""
        number, skew = self.numbers[home.name], self.skews.get(home.name, 0)
        program = ["-m", "tests.chaos.skewed", str(skew)] if skew else ["-m", "cli"]
        command = [*self.ground.prefix(number), sys.executable, *program, "node", "start", "--home", str(home.path)]
        self._put_console_aside(home)
        self.processes[home.name] = await _start(home, command)

    def _put_console_aside(self, home: NodeHome) -> None:
        """Keep what the process prints off the node's own disk: why it stopped when that was full must be readable."""
        console = home.path / "console.log"
        if not console.is_symlink():
            aside = self.spec.place / "consoles" / f"{home.name}.log"
            aside.parent.mkdir(exist_ok=True)
            console.symlink_to(aside)

    async def stop_all(self) -> None:
        """Stop every process in order."""
        for home in self.layout.homes:
            if home.name in self.processes:
                self.note_peak(home.name)
        await asyncio.gather(*(process.stop() for process in self.processes.values()))

    def note_peak(self, name: str) -> None:
        """Remember the largest memory a node was seen with."""
        self.peaks[name] = max(self.peaks.get(name, 0.0), self.processes[name].peak_rss_mb())

    def note_deaths(self) -> None:
        """Take note of processes that ended though nobody ended them."""
        for home in self.layout.homes:
            process = self.processes[home.name]
            if home.name not in self.harmed and process.exit_code is not None:
                self.problems.append(f"{home.name} died: {last_lines(home.path / 'console.log')}")
                self.harmed.add(home.name)

    def free(self) -> list[NodeHome]:
        """Return the nodes that nothing is being done to."""
        return [home for home in self.layout.homes if home.name not in self.harmed]


async def _start(home: NodeHome, command: list[str]) -> NodeProcess:
    with (home.path / "console.log").open("ab") as console:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=child_environment(),
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
    return NodeProcess(home, process)
