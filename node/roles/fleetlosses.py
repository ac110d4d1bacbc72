"""What a fleet's devices have lost and may still spend: a purse each, as if each ran in a node of its own.

One journal holds the releases of all of them. A device's own entries count for it, and what the chain knows of its key.
Entries of keys that are none of the fleet's count too, for nobody can say any more whose rows they spoke of: after the
secret was changed every device begins at what all the old keys lost together, which is too much rather than too little.

Rules of this file: questions; the role acts on the answers.
"""

from collections.abc import Sequence

from chain.ids import Hash
from consensus.problems import get_problem
from consensus.state import get_device, get_settled_task
from fl.plan.dimensions import keeps_residual
from fl.privacy.charges import is_private
from node.fleet.hosted import HostedFleet
from node.jobs.specs import FleetSeat
from node.roles.base import Surroundings
from node.roles.purse import Purse
from storage.own import JournalEntry


class FleetLosses:
    """The purses of a fleet's devices, by place. ``allowed``: each one's lifetime budget in the settings; 0: none."""

    def __init__(self, around: Surroundings, fleet: HostedFleet, allowed: int) -> None:
        self._around, self._fleet, self._allowed = around, fleet, allowed
        journal = around.world.journal
        keys = [key for key in journal.devices() if fleet.place_of(key) is None]
        self._of_others = sum(map(journal.total, keys))

    def purse(self, place: int) -> Purse:
        """Return what a device has lost and may spend."""
        account, journal = self._fleet.accounts[place], self._around.world.journal
        record = get_device(self._around.chain.view, account)
        lost = max(journal.total(account), 0 if record is None else record.privacy_total, self._of_others)

        def under(plan: Hash) -> int:
            return journal.spent_by(account, plan)

        return Purse(account, lost, under, self._allowed)

    def most(self) -> int:
        """Return the largest loss of any device by the journal, in micro-zCDP."""
        total = self._around.world.journal.total
        return max([self._of_others, *map(total, self._fleet.accounts)])

    def seats(
        self, plan: Hash, phase: int, places: Sequence[int], samples: Sequence[int]
    ) -> tuple[list[FleetSeat], dict[int, str]]:
        """Return what each of these devices is asked and signs, and why others would spend too much by it.

        ``samples`` has by place what each enrolled with.
        """
        view = self._around.chain.view
        document = get_problem(view, plan).plan
        seats: list[FleetSeat] = []
        poor: dict[int, str] = {}
        for place in places:
            purse = self.purse(place)
            charge = purse.next_charge(document, phase)
            reason = purse.find_release_reason(view, plan, document, charge)
            if reason is None:
                account = self._fleet.accounts[place]
                settled = get_settled_task(view, plan, account) if keeps_residual(document) else None
                seats.append(FleetSeat(place, samples[place], charge, settled))
            else:
                poor[place] = f"its update would cost too much: {reason}"
        return seats, poor

    def find_poor(self, plan: Hash, entries: Sequence[JournalEntry]) -> dict[int, str]:
        """Return whose release costs too much by now, and why: the chain may have moved while it was trained."""
        view, poor = self._around.chain.view, {}
        document = get_problem(view, plan).plan
        for entry in entries if is_private(document) else ():
            place, charge = self._fleet.place_of(entry.device), entry.update.release.privacy
            if place is None:
                continue
            purse = self.purse(place)
            reason = purse.find_release_reason(view, plan, document, charge)
            if charge.total < purse.lost + charge.loss:
                reason = f"it says that all releases lost {charge.total} micro-zCDP, and they lost more by now"
            if reason is not None:
                poor[place] = reason
        return poor
