"""What a simulated world is: how many take part, for how long, and what goes wrong.

The same settings give the same run, event for event, on any machine.
"""

from dataclasses import dataclass
from typing import Final

from chain.ids import Millis
from node.errors import SimulationError

LOSS: Final = "loss"
DELAY: Final = "delay"
PARTITION: Final = "partition"
CRASH: Final = "crash"
RESTART: Final = "restart"
SKEW: Final = "skew"
DUPLICATE: Final = "duplicate"
WIPE: Final = "wipe"

FAULTS: Final[dict[str, str]] = {
    LOSS: "packets are lost (their bytes come late) and connections are reset",
    DELAY: "a machine's lines become slow and narrow for a while",
    PARTITION: "the network falls into parts that can't hear each other, and heals",
    CRASH: "a process dies at any event, effect or write; writes that were not synced may be lost; it comes back",
    RESTART: "a process is stopped in order and started again",
    SKEW: "clocks are wrong from the start, and some are set forward",
    DUPLICATE: "a node is told to connect to a peer it is connected to",
    WIPE: "a machine loses its chain and all payloads, keeps its key and journals, and begins anew from genesis",
}
"""The kinds of faults, with what they do."""

ENGINES: Final = ("pow", "pos")
EPOCH_BLOCKS: Final = 16
"""Blocks of an epoch in a simulated world with validators: few, so that a run has many."""
START_MS: Final = Millis(1_700_000_000_000)
"""The moment every simulated world begins."""
MAX_REORG: Final = 120
"""Blocks below which a simulated chain is final under proof of work,"""
SHALLOW_REORG: Final = 40
"""… and in worlds in which states are served: one that is final has to come before they end."""
_LEAST_STATE_BLOCKS: Final = 4
_IDLE_TICKS: Final = 4
"""A machine to which nothing happens ticks at least that much more rarely."""

MAX_BYZANTINE: Final = 0.33
"""Share of the power that may lie: above a third no engine promises anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSettings:
    """One simulated world. ``SimulationError`` if it can't be made.

    seed        draws everything: keys, data, plans, lines, faults, the order of what happens
    nodes       machines without data; the first ``miners`` of them mine, the last one owns the plans
    devices     machines with data, each a full node but for the last ``light`` of them, which have no chain
    miners      0 = a third of the nodes, at least two
    faults      names of ``FAULTS``
    byzantine   share of the hash power, and of the other machines, that lies: at most 0.3 (docs/simulator.md)
    behaviours  how they lie: names of ``byzantine.registry.BEHAVIOURS``; none = each that fits, as the seed says
    duration_ms virtual time in which faults happen and plans are submitted; the run ends when all is settled after it
    block_ms    interval between blocks aimed at
    plans       plans submitted one after the other while time remains; 0 = as many as fit
    tick_ms     time between two ticks of a node that is busy; idle ones tick four times more rarely, and where blocks
                are slower than that, a third of the time between two of them after the next should have come
    crash_write crash_machine dies at this moment around a write, counted from its first start; 0 = at none
    state_blocks   a machine so far behind takes the state of a final block from others, of which one in half as many
                is served; 0 = every block is executed everywhere
    kept_blocks    every second machine without a role keeps bodies and payloads of so many final blocks; 0 = of all
    noise       every plan's updates carry noise, and most devices have lifetime budgets
    share_results  machines share what they would compute alike; without it the run is the same and takes longer
    """

    seed: int = 0
    nodes: int = 8
    devices: int = 4
    miners: int = 0
    engine: str = "pow"
    faults: tuple[str, ...] = ()
    byzantine: float = 0.0
    behaviours: tuple[str, ...] = ()
    duration_ms: int = 5 * 60_000
    block_ms: int = 2_000
    plans: int = 0
    tick_ms: int = 500
    crash_machine: int = 0
    crash_write: int = 0
    state_blocks: int = 0
    kept_blocks: int = 0
    share_results: bool = True
    light: int = 0
    noise: bool = False

    def __post_init__(self) -> None:
        problems = [
            *self._out_of_range("nodes", 1, 2_000),
            *self._out_of_range("devices", 0, 2_000),
            *self._out_of_range("miners", 0, self.nodes),
            *self._out_of_range("light", 0, self.devices),
            *self._out_of_range("duration_ms", 1_000, 10**10),
            *self._out_of_range("block_ms", 200, 3_600_000),
            *self._out_of_range("plans", 0, 10_000),
            *self._out_of_range("tick_ms", 50, 10_000),
            *self._out_of_range("crash_machine", 0, self.machines - 1),
            *self._out_of_range("crash_write", 0, 10**9),
            *self._out_of_range("state_blocks", 0, 10**6),
            *self._out_of_range("kept_blocks", 0, 10**6),
            *(f"fault {name!r}: one of {', '.join(FAULTS)}" for name in self.faults if name not in FAULTS),
        ]
        if not 0 <= self.byzantine <= MAX_BYZANTINE:
            problems.append(f"byzantine = {self.byzantine}: must be 0 … {MAX_BYZANTINE}")
        if 0 < self.state_blocks < _LEAST_STATE_BLOCKS:
            problems.append(f"state_blocks = {self.state_blocks}: must be 0, or at least {_LEAST_STATE_BLOCKS}")
        if self.engine not in ENGINES:
            problems.append(f"engine {self.engine!r}: one of {', '.join(ENGINES)}")
        if problems:
            raise SimulationError("; ".join(problems))

    def _out_of_range(self, name: str, least: int, most: int) -> list[str]:
        value = getattr(self, name)
        return [] if least <= value <= most else [f"{name} = {value}: must be {least} … {most}"]

    @property
    def miner_count(self) -> int:
        """How many nodes mine."""
        return self.miners or min(self.nodes, max(2, self.nodes // 3))

    @property
    def machines(self) -> int:
        """All machines: nodes, then devices."""
        return self.nodes + self.devices

    @property
    def owner(self) -> int:
        """The number of the machine that owns the plans."""
        return self.nodes - 1

    @property
    def idle_ms(self) -> int:
        """Time between two ticks of a machine to which nothing happens: with each block something does."""
        return max(_IDLE_TICKS * self.tick_ms, self.block_ms * 4 // 3)

    @property
    def outbound(self) -> int:
        """How many connections a machine keeps from its side: few where there are many."""
        return 4 if self.machines <= 60 else 3

    @property
    def max_reorg(self) -> int:
        """Blocks below which the chain is final under proof of work."""
        return SHALLOW_REORG if self.state_blocks else MAX_REORG

    @property
    def agreement_ms(self) -> int:
        """The stated bound: so long after the network healed all honest nodes have had one head at one moment.

        Two minutes for dead connections to be noticed and dialled anew, and sixty blocks.
        """
        return 120_000 + 60 * self.block_ms

    def command(self) -> str:
        """Return the command line that shows this run again."""
        parts = [
            f"fedchain simulate --nodes {self.nodes} --devices {self.devices} --miners {self.miner_count}",
            f"--engine {self.engine} --faults {','.join(self.faults) or 'none'}",
            *self._extras(),
            f"--seconds {self.duration_ms // 1000} --block-ms {self.block_ms} --plans {self.plans}",
            f"--tick-ms {self.tick_ms} --seed {self.seed}",
        ]
        return " ".join(parts)

    def _extras(self) -> list[str]:
        extras = [f"--light {self.light}"] if self.light else []
        if self.noise:
            extras.append("--noise")
        if self.crash_write:
            extras.append(f"--crash-machine {self.crash_machine} --crash-write {self.crash_write}")
        if self.state_blocks:
            extras.append(f"--state-blocks {self.state_blocks}")
        if self.kept_blocks:
            extras.append(f"--kept-blocks {self.kept_blocks}")
        if self.byzantine:
            extras.append(f"--byzantine {self.byzantine:g} --behaviours {','.join(self.behaviours) or 'all'}")
        return extras
