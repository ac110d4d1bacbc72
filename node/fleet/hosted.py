"""The devices that a node hosts: who they are, their keys, their rows, and what trains them by the batch.

Rules of this file: it reads, and remembers what it read; what a device does on the chain is ``node.roles.fleet``'s.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

from chain.ids import AccountId
from chain.keys import KeyPair
from fl.data.fleetfile import load_fleet, read_names
from fl.errors import DataError
from fl.executors.base import Pool
from fl.executors.fleets import FleetCrew, RemoteTrainer, make_trainer
from fl.fleet import Fleet
from fl.fleetloop import FleetLoop
from fl.fleetpayloads import FleetTrainer
from fl.plan.schema import Role
from fl.problem import Problem
from node.fleet.keys import device_key


class FleetSource(Protocol):
    """Where a fleet's rows come from."""

    def names(self) -> tuple[str, ...]:
        """Return the devices' names, rising. ``DataError``."""
        ...

    def load(self, role: Role) -> Fleet:
        """Return the devices of these names with their rows under a role; ``DataError`` says what does not fit."""
        ...


@dataclass(frozen=True, slots=True)
class FleetFile:
    """A fleet file (``fl.data.fleetfile``)."""

    path: Path

    def names(self) -> tuple[str, ...]:
        """Return the devices' names, rising."""
        return read_names(self.path)

    def load(self, role: Role) -> Fleet:
        """Return the devices, read anew."""
        return load_fleet(self.path, role)


Pools = Callable[[], AbstractContextManager[Pool]]
"""Opens the pool of workers that a fleet's devices train in."""
Trainer = FleetTrainer | FleetLoop | RemoteTrainer


class HostedFleet:
    """The devices of a fleet. Places count them in the order of their names. Threads may share it.

    ``pools``: where they train, if not in this process. Close the fleet when it is done.
    """

    def __init__(self, source: FleetSource, secret: KeyPair, pools: Pools | None = None) -> None:
        self._source, self._pools = source, pools
        self.names = source.names()
        self.keys = tuple([device_key(secret, name) for name in self.names])
        self.accounts = tuple([key.account for key in self.keys])
        self._places = {account: place for place, account in enumerate(self.accounts)}
        self._lock = Lock()
        self._held: tuple[Role, Fleet] | None = None
        self._trainer: tuple[Problem, Trainer] | None = None
        self._crew: FleetCrew | None = None

    def __len__(self) -> int:
        return len(self.names)

    def place_of(self, account: AccountId) -> int | None:
        """Return the place of the device with this account; None if it is none of the fleet's."""
        return self._places.get(account)

    def load(self, role: Role) -> Fleet:
        """Return the fleet's rows under a role; the last role's are kept. ``DataError``."""
        with self._lock:
            return self._load(role)

    def _load(self, role: Role) -> Fleet:
        if self._held is None or self._held[0] != role:
            fleet = self._source.load(role)
            if fleet.names != self.names:
                raise DataError("the fleet's file has other devices now than when the node started: start it again")
            self._held = (role, fleet)
        return self._held[1]

    def trainer(self, problem: Problem, role: Role) -> Trainer:
        """Return what trains the devices under a plan, by the batch where it can be; the last plan's is kept."""
        with self._lock:
            if self._trainer is None or self._trainer[0].plan_id != problem.plan_id:
                fleet = self._load(role)
                self._trainer = problem, self._make_trainer(problem, fleet)
            return self._trainer[1]

    def _make_trainer(self, problem: Problem, fleet: Fleet) -> Trainer:
        if self._pools is None:
            return make_trainer(problem, fleet)
        if self._crew is None or self._crew.fleet is not fleet:
            self.close()
            self._crew = FleetCrew(fleet, self._pools)
        return RemoteTrainer(problem, self._crew)

    def close(self) -> None:
        """Let go of what trains elsewhere. Twice does no harm."""
        if self._crew is not None:
            self._crew.close()
