"""What a device keeps of its updates from round to round, where a plan sends the largest coordinates alone.

It lies with the device's data, a file for each release: what the device keeps *if that release settles*. Which one did,
the chain says (``consensus.statekeys.settled_key``), so after a restart, a fork or a lost round the device goes on from
the residual that belongs to the history it sees, and never says anything twice. A file is on disk before its release
is journalled.

Of one plan and device the file of the release that settled last stays, the newest, and ``SPARE`` others for a chain
that changes its mind. A device whose file is gone goes on without it: it loses what it had not sent yet, nobody else
does.

    residuals/PLAN/DEVICE/TASK    a magic line, SHA-256 of what follows (32 bytes), what is kept
"""

from hashlib import sha256
from pathlib import Path
from typing import Final

from chain.ids import AccountId, Hash
from storage.errors import DamagedError
from storage.files import write_file

MAGIC: Final = b"fedchain residual 1\n"
SPARE: Final = 2
_HEAD: Final = len(MAGIC) + 32


class MemoryResiduals:
    """A ``ResidualStore`` in a dictionary."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Hash, AccountId], dict[Hash, bytes]] = {}

    def get(self, plan: Hash, device: AccountId, task: Hash) -> bytes | None:
        """Return what a device keeps if its release for this task settles."""
        return self._kept.get((plan, device), {}).get(task)

    def put(self, plan: Hash, device: AccountId, task: Hash, kept: bytes, settled: Hash | None) -> None:
        """Keep it; of the others that of ``settled`` and the latest few stay."""
        known = self._kept.setdefault((plan, device), {})
        known.pop(task, None)
        for old in list(known)[: max(len(known) - SPARE, 0)]:
            if old != settled:
                del known[old]
        known[task] = kept

    def plans(self) -> tuple[Hash, ...]:
        """Return the plans for which anything is kept, sorted."""
        return tuple(sorted({plan for plan, _ in self._kept}))

    def forget(self, plan: Hash) -> None:
        """Keep nothing of this plan any more."""
        for key in [key for key in self._kept if key[0] == plan]:
            del self._kept[key]


class FileResiduals:
    """A ``ResidualStore`` in files, one a release."""

    def __init__(self, path: Path) -> None:
        """Use a directory, which is made when the first residual is kept."""
        self.path = path
        self._plans = {Hash(bytes.fromhex(entry.name)) for entry in path.iterdir()} if path.is_dir() else set()

    def _directory(self, plan: Hash, device: AccountId) -> Path:
        return self.path / plan.hex() / device.hex()

    def get(self, plan: Hash, device: AccountId, task: Hash) -> bytes | None:
        """Return what a device keeps if its release for this task settles. ``DamagedError`` if the file has changed."""
        file = self._directory(plan, device) / task.hex()
        try:
            whole = file.read_bytes()
        except FileNotFoundError:
            return None
        kept = whole[_HEAD:]
        if whole[:_HEAD] != MAGIC + sha256(kept).digest():
            raise DamagedError(
                f"residual {file}: it is not what was written; remove it, and the device goes on without what it had "
                "not sent yet"
            )
        return kept

    def put(self, plan: Hash, device: AccountId, task: Hash, kept: bytes, settled: Hash | None) -> None:
        """Keep it, durable on return; of the others that of ``settled`` and the latest few stay."""
        directory = self._directory(plan, device)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._plans.add(plan)
        write_file(directory / task.hex(), MAGIC + sha256(kept).digest() + kept)
        others = [file for file in directory.iterdir() if file.name != task.hex()]
        others.sort(key=lambda file: (file.stat().st_mtime_ns, file.name))
        for old in others[: max(len(others) - SPARE, 0)]:
            if settled is None or old.name != settled.hex():
                old.unlink()

    def plans(self) -> tuple[Hash, ...]:
        """Return the plans for which anything is kept, sorted."""
        return tuple(sorted(self._plans))

    def forget(self, plan: Hash) -> None:
        """Keep nothing of this plan any more."""
        self._plans.discard(plan)
        place = self.path / plan.hex()
        for directory in list(place.iterdir()) if place.is_dir() else []:
            for file in list(directory.iterdir()):
                file.unlink()
            directory.rmdir()
        if place.is_dir():
            place.rmdir()
