"""What a release journal knows: one release for a task and device, totals that never go back. No I/O."""

from chain.ids import AccountId, Hash
from storage.base import JournalEntry
from storage.errors import JournalError


class Releases:
    """The index of a journal: where each release is, and what each device has spent."""

    __slots__ = ("_known", "_places", "_spent", "_spent_under", "_totals")

    def __init__(self) -> None:
        self._places: dict[Hash, dict[AccountId, int]] = {}
        self._totals: dict[AccountId, int] = {}
        self._known: dict[AccountId, AccountId] = {}
        """One object for each device's id, however many entries name it."""
        self._spent = 0
        self._spent_under: dict[Hash, dict[AccountId, int]] = {}

    def find(self, task: Hash, device: AccountId) -> int | None:
        """Return the place of this device's release for this task."""
        return self._places.get(task, {}).get(device)

    def total(self, device: AccountId) -> int:
        """Return the device's cumulative privacy loss in micro-zCDP."""
        return self._totals.get(device, 0)

    def spent(self) -> int:
        """Return the loss of all entries, by their losses or by what they signed, whichever is more."""
        return self._spent

    def spent_under(self, plan: Hash) -> int:
        """Return the losses of a plan's entries, in micro-zCDP."""
        return sum(self._spent_under.get(plan, {}).values())

    def spent_by(self, device: AccountId, plan: Hash) -> int:
        """Return the losses of a device's entries of a plan, in micro-zCDP."""
        return self._spent_under.get(plan, {}).get(device, 0)

    def devices(self) -> tuple[AccountId, ...]:
        """Return the devices that have entries, in the order of their first ones."""
        return tuple(self._known)

    def is_new(self, entry: JournalEntry, known: JournalEntry | None) -> bool:
        """Is this entry to be added? ``known`` stands under its task and device. ``JournalError`` if it must not be."""
        release = entry.update.release
        if known is not None:
            if known != entry:
                raise JournalError(
                    f"device {entry.device.hex()[:12]}… already made another release for task {entry.task.hex()}: "
                    "one task has one release, the same bytes for ever"
                )
            return False
        if not release.payload.is_of(entry.payload):
            raise JournalError(f"the payload is not {release.payload.id.hex()}, which the update names")
        least = self.total(entry.device) + release.privacy.loss
        if release.privacy.total < least:
            raise JournalError(
                f"a cumulative privacy loss of {release.privacy.total} micro-zCDP; with it this device spent {least}"
            )
        return True

    def add(self, entry: JournalEntry, place: int) -> None:
        """Take note of an entry that ``is_new``."""
        device = self._known.setdefault(entry.device, entry.device)
        self._places.setdefault(entry.task, {})[device] = place
        release = entry.update.release
        self._totals[device] = release.privacy.total
        self._spent = max(self._spent + release.privacy.loss, release.privacy.total)
        if release.privacy.loss:
            under = self._spent_under.setdefault(release.plan, {})
            under[device] = under.get(device, 0) + release.privacy.loss
