"""Looking at the machine: what the operating system says is read as it means it, and what it doesn't say is unknown."""

import asyncio
from types import SimpleNamespace

import psutil
import pytest

from fl.errors import DataError
from node.events import MachineSensed
from node.service import service
from node.service.machinefacts import MachineWatch, find_default_device, read_metered, read_power
from storage.datastore import Expired


@pytest.mark.parametrize(
    ("text", "metered"),
    [
        ("yes\n", True),
        ("no (guessed)\n", False),
        ("YES (guessed)", True),
        ("unknown", None),
        ("", None),
        ("yesno", None),
    ],
)
def test_what_networkmanager_says_is_read_as_it_means_it(text, metered):
    """A guess of it counts as well; anything else is unknown."""
    assert read_metered(text) is metered


def test_the_connection_is_the_one_that_the_default_route_goes_through():
    """Of two the one with the lower metric; a machine without one has none."""
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    phone = "usb0\t00000000\t0101A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0\n"
    cable = "eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    beside = "tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
    assert find_default_device(head + beside + phone + cable) == "eth0"
    assert find_default_device(head + beside) == find_default_device("") == ""


def test_a_machine_without_a_battery_has_power(tmp_path, monkeypatch):
    """A battery that psutil can't read is not taken for power."""
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    assert read_power(tmp_path / "nothing") is None
    assert read_power(tmp_path) is True
    (tmp_path / "BAT0").mkdir()
    (tmp_path / "BAT0" / "type").write_text("Battery\n")
    assert read_power(tmp_path) is None
    for plugged in (True, False, None):
        battery = SimpleNamespace(power_plugged=plugged)
        monkeypatch.setattr(psutil, "sensors_battery", lambda battery=battery: battery, raising=False)
        assert read_power(tmp_path) is plugged


def test_a_node_does_not_keep_itself_from_working(monkeypatch, tmp_path):
    """Its own share of the load doesn't count, the mean of three looks does, and the network is asked once a minute."""
    asked: list[int] = []
    loads = iter([0.0, 90.0, 30.0, 30.0, 30.0])
    watch = MachineWatch(lambda: asked.append(1) or "yes", tmp_path)  # type: ignore[func-returns-value]
    own = 30.0 * psutil.cpu_count()
    monkeypatch.setattr(watch, "_process", SimpleNamespace(cpu_percent=lambda _: own))
    monkeypatch.setattr(psutil, "cpu_percent", lambda _: next(loads))
    assert [watch.look().load_percent for _ in range(4)] == [0, 30, 20, 20]
    assert watch.look().is_metered is True
    assert asked == [1]


async def test_a_running_node_looks_at_its_machine_and_lets_old_rows_go(monkeypatch):
    """Each in a thread of its own, again and again; a store that can't be read is told and tried again."""
    heard: list[object] = []
    expired = iter([Expired(3, 0), DataError("the disk is away"), Expired(0, 0)])
    told: list[str] = []
    enough = asyncio.Event()

    def tell(text: str, **_: object) -> None:
        told.append(text)
        if len(told) == 2:
            enough.set()

    def expire() -> Expired:
        answer = next(expired, Expired(0, 0))
        if isinstance(answer, DataError):
            raise answer
        return answer

    monkeypatch.setattr(service, "LOOK_S", 0.01)
    monkeypatch.setattr(service, "_EXPIRE_S", 0.01)
    logger = SimpleNamespace(info=tell, warning=tell)
    tasks = [
        asyncio.create_task(service._watch_machine(SimpleNamespace(deliver=heard.append))),
        asyncio.create_task(service._expire(SimpleNamespace(expire=expire, older_by=0), logger)),
    ]
    await enough.wait()
    for task in tasks:
        task.cancel()
    assert heard
    assert all(isinstance(event, MachineSensed) for event in heard)
    assert told == ["old rows of the data store are gone", "old rows of the data store stay"]


def test_this_machine_can_be_looked_at():
    """Whatever it has or lacks."""
    facts = MachineWatch().look()
    assert facts.load_percent is not None
    assert 0 <= facts.load_percent <= 100
