"""A device where registrars permit devices: it waits, says for what, and registers without a stamp."""

from types import SimpleNamespace
from typing import cast

from msgspec.structs import replace

from chain.transaction import PermitDevice, RegisterDevice
from node.core.config import DeviceConfig
from node.core.messages import OwnTransaction
from node.core.turn import Turn
from node.roles.base import Surroundings
from node.roles.device import Device
from storage.memorystores import MemoryReleaseJournal
from tests.consensus.harness import DEVICES, Chain
from tests.consensus.staking.harness import REGISTRAR, StakeChain

HERE = DEVICES[0]


class Recorder:
    """A turn that keeps what it is told, and the jobs that are started."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.jobs: list[object] = []

    def tell(self, message: object) -> None:
        self.told.append(message)

    def start(self, job: object) -> int:
        self.jobs.append(job)
        return len(self.jobs)


def look(chain: Chain) -> tuple[Device, Recorder]:
    """A device that has just looked at this chain's head."""
    around = SimpleNamespace(
        chain=SimpleNamespace(view=chain, rules=chain.genesis.schedule[0]),
        world=SimpleNamespace(genesis=chain.genesis, journal=MemoryReleaseJournal()),
        account=HERE.account,
        may_act=True,
        is_waiting=lambda kind: False,
    )
    device, turn = Device(cast(Surroundings, around), DeviceConfig(consent=True)), Recorder()
    device.on_started(cast("object", None), cast(Turn, turn))  # type: ignore[arg-type]
    return device, turn


def test_a_device_waits_for_its_permit_and_says_so() -> None:
    """No stamp is searched; with the permit it registers at once, and the block takes it."""
    hard = replace(StakeChain().genesis.schedule[0], stamp_bits=64)
    chain = StakeChain(registrars=(REGISTRAR.account,), rules=hard)
    device, turn = look(chain)
    assert (turn.told, turn.jobs) == ([], [])
    assert "fedchain device permit" in device.status().last_error
    chain.do(REGISTRAR, PermitDevice(HERE.account))
    device, turn = look(chain)
    assert device.status().last_error == ""
    (order,) = turn.told
    assert isinstance(order, OwnTransaction)
    assert isinstance(order.body, RegisterDevice)
    chain.do(HERE, order.body)


def test_without_registrars_a_device_finds_its_stamp() -> None:
    """On open chains nothing has changed."""
    for chain in (Chain(), StakeChain()):
        _, turn = look(chain)
        assert len(turn.jobs) == 1
        assert turn.told == []
