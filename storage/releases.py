"""What a release journal knows: one release for a task and device, totals that never go back. No I/O.

Of a task that is over, for good, the releases themselves are nobody's need any more; what they lost is, and that
nothing else is ever released for it. Both are in a ``ReleaseSummary``, which takes the place of such entries.
"""

from collections.abc import Collection, Iterable
from typing import Final

from chain.codec import Record
from chain.ids import AccountField, AccountId, Hash, HashField, Natural
from storage.errors import JournalError
from storage.own import JournalEntry

COMPACT_BYTES: Final = 64 * 2**20
"""So much must be freed, and half of all that there is, before a journal is written anew."""


def is_worth(freed: int, of: int, least: int) -> bool:
    """Is it worth writing a journal of so many bytes anew to free some? ``least`` 0: whenever anything goes."""
    return freed >= max(least, of // 2) if least else freed > 0


class DeviceLoss(Record):
    """A device's loss, in micro-zCDP."""

    device: AccountField
    loss: Natural


class PlanLosses(Record):
    """What releases of a plan have cost their devices."""

    plan: HashField
    losses: tuple[DeviceLoss, ...]


class ReleaseSummary(Record, tag="summary"):
    """What a journal knows of entries that it does not hold any more.

    spent    as ``Releases.spent``: with the entries that are left it comes to what it was
    totals   of all devices that have or had entries, in the order of their first ones
    plans    losses under each plan, of the entries that are gone
    over     their tasks: nothing is released for them any more
    """

    spent: Natural
    totals: tuple[DeviceLoss, ...]
    plans: tuple[PlanLosses, ...]
    over: tuple[HashField, ...]


class Releases:
    """The index of a journal: where each release is, and what each device has spent."""

    __slots__ = ("_known", "_over", "_places", "_spent", "_spent_under", "_totals")

    def __init__(self, summary: ReleaseSummary | None = None) -> None:
        self._places: dict[Hash, dict[AccountId, int]] = {}
        self._totals: dict[AccountId, int] = {}
        self._known: dict[AccountId, AccountId] = {}
        """One object for each device's id, however many entries name it."""
        self._spent = 0
        self._spent_under: dict[Hash, dict[AccountId, int]] = {}
        self._over: set[Hash] = set()
        if summary is not None:
            self._restore(summary)

    def _restore(self, summary: ReleaseSummary) -> None:
        self._spent, self._over = summary.spent, {Hash(task) for task in summary.over}
        for total in summary.totals:
            device = AccountId(total.device)
            self._known[device], self._totals[device] = device, total.loss
        for plan in summary.plans:
            losses = {self._known[AccountId(one.device)]: one.loss for one in plan.losses}
            self._spent_under[Hash(plan.plan)] = losses

    def find(self, task: Hash, device: AccountId) -> int | None:
        """Return the place of this device's release for this task."""
        return self._places.get(task, {}).get(device)

    def is_over(self, task: Hash) -> bool:
        """Were the task's entries put into a summary?"""
        return task in self._over

    def tasks(self) -> tuple[Hash, ...]:
        """Return the tasks that have entries."""
        return tuple(self._places)

    def places(self, tasks: Collection[Hash]) -> Iterable[int]:
        """Return the places of these tasks' entries."""
        return [place for task in tasks for place in self._places.get(task, {}).values()]

    def first(self, task: Hash) -> int | None:
        """Return the place of some entry of a task."""
        return next(iter(self._places.get(task, {}).values()), None)

    def summary(self, over: Collection[Hash], left: Iterable[JournalEntry]) -> ReleaseSummary:
        """Return what takes the place of the entries of tasks that are over; ``left`` are all others."""
        spent, under = self._spent, {plan: dict(losses) for plan, losses in self._spent_under.items()}
        for entry in left:
            release = entry.update.release
            spent -= release.privacy.loss
            if release.privacy.loss:
                under[release.plan][entry.device] -= release.privacy.loss
        return ReleaseSummary(
            spent,
            tuple([DeviceLoss(device, self.total(device)) for device in self._known]),
            tuple(
                [PlanLosses(plan, tuple(map(DeviceLoss, losses, losses.values()))) for plan, losses in under.items()]
            ),
            tuple(sorted({*self._over, *over})),
        )

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
        if self.is_over(entry.task):
            raise JournalError(f"task {entry.task.hex()} is over: nothing is released for it any more")
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
        self._totals[device] = max(self.total(device), release.privacy.total)
        self._spent = max(self._spent + release.privacy.loss, release.privacy.total)
        if release.privacy.loss:
            under = self._spent_under.setdefault(release.plan, {})
            under[device] = under.get(device, 0) + release.privacy.loss
