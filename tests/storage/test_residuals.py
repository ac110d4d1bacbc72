"""What a device keeps of its updates: durable, found by its release, and no more of it than a device goes on from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chain.ids import AccountId, Hash
from storage.errors import DamagedError
from storage.own import ResidualStore
from storage.residuals import SPARE, FileResiduals, MemoryResiduals

PLAN, OTHER = Hash(b"p" * 32), Hash(b"q" * 32)
DEVICE, SECOND = AccountId(b"d" * 32), AccountId(b"e" * 32)
Open = Callable[[], ResidualStore]


def task(number: int) -> Hash:
    """Return a task's digest."""
    return Hash(bytes([number]) * 32)


@pytest.fixture(params=["memory", "files"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Return what opens the store: anew each time, if it is on disk."""
    memory = MemoryResiduals()
    return (lambda: memory) if request.param == "memory" else (lambda: FileResiduals(tmp_path / "residuals"))


def test_a_residual_is_found_by_plan_device_and_task(opened: Open) -> None:
    """By no other, after a restart too; put again it is the newer."""
    opened().put(PLAN, DEVICE, task(1), b"old", None)
    opened().put(PLAN, DEVICE, task(1), b"new", None)
    opened().put(PLAN, SECOND, task(1), b"hers", None)
    assert opened().get(PLAN, DEVICE, task(1)) == b"new"
    assert opened().get(PLAN, SECOND, task(1)) == b"hers"
    assert opened().get(OTHER, DEVICE, task(1)) is None
    assert opened().get(PLAN, DEVICE, task(2)) is None


def test_that_of_the_settled_release_stays_and_old_ones_go(opened: Open) -> None:
    """However many rounds a device sends in vain, what it goes on from is there, and there are few files."""
    store = opened()
    for number in range(1, 12):
        store.put(PLAN, DEVICE, task(number), bytes([number]), task(1) if number > 1 else None)
    there = [number for number in range(1, 12) if opened().get(PLAN, DEVICE, task(number)) is not None]
    assert there[0] == 1
    assert there[-1] == 11
    assert len(there) <= SPARE + 2


def test_a_plan_is_forgotten_as_a_whole(opened: Open) -> None:
    """With all its devices; others stay."""
    for plan in (PLAN, OTHER):
        for device in (DEVICE, SECOND):
            opened().put(plan, device, task(1), b"kept", None)
    assert opened().plans() == (PLAN, OTHER)
    store = opened()
    store.forget(PLAN)
    store.forget(PLAN)
    assert store.plans() == opened().plans() == (OTHER,)
    assert opened().get(PLAN, DEVICE, task(1)) is None
    assert opened().get(OTHER, DEVICE, task(1)) == b"kept"


@pytest.mark.parametrize(
    "spoil", [lambda whole: whole[:-1], lambda whole: whole + b"x", lambda whole: b"F" + whole[1:]]
)
def test_a_file_that_changed_is_not_believed(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    """The person is told which file, and that it may go."""
    store = FileResiduals(tmp_path)
    store.put(PLAN, DEVICE, task(1), b"kept", None)
    (file,) = (tmp_path / PLAN.hex() / DEVICE.hex()).iterdir()
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(DamagedError, match="remove it"):
        store.get(PLAN, DEVICE, task(1))
