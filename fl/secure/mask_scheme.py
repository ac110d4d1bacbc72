"""``masks``: sums under masks that cancel out (``fl.secure.masks``), as the round machine takes them.

An update names what it was masked with: the digest of all that was shared for its task, before its numbers. On a fork
where other devices had shared it is refused, and no sum comes out wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chain.fixedpoint import Int64Vector
from chain.hashing import content_id
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from fl.errors import MaskError
from fl.errors import Problem as Fault
from fl.objective import Objective
from fl.plan.dimensions import most_selected
from fl.plan.schema import Masked, SummedGaussian
from fl.secure import masks
from fl.secure.base import Cohort, Gathered, Sharing, get_shared_name

_NAME_BYTES: Final = 32
_PART_BYTES: Final = 97
"""Of a complaint, the longer answer about a device."""


@dataclass(frozen=True, slots=True)
class MaskScheme:
    """The scheme object; ``MASKS`` is the one instance."""

    name: str = "masks"

    @property
    def sharing(self) -> Sharing:
        """What masks are made of."""
        return self

    def find_faults(self, problem: Objective) -> Sequence[Fault]:
        """Return what is wrong with the size of the cohort."""
        count = most_selected(problem.plan)
        if count > masks.MAX_COHORT:
            allowed = f"with over_select_percent selects {count}; masks are for at most {masks.MAX_COHORT} devices"
            return [Fault("participation.goal_devices", str(problem.plan.participation.goal_devices), allowed)]
        privacy, least = problem.plan.privacy, problem.plan.participation.min_devices
        if isinstance(privacy, SummedGaussian) and privacy.colluders >= self.threshold(problem, least):
            allowed = (
                f"must be below {self.threshold(problem, least)}, how many of {least} devices can take off anybody's "
                "masks (aggregation.threshold_percent): single updates would show, with little noise"
            )
            return [Fault("privacy.colluders", str(privacy.colluders), allowed)]
        try:
            _slot_bits(problem)
        except MaskError as error:
            return [Fault("aggregation.value_bits", str(_spec_of(problem).value_bits), str(error))]
        return ()

    def most_bytes(self, problem: Objective) -> int:
        """Return the size of a masked update."""
        return _NAME_BYTES + masks.body_bytes(problem.dimension, _slot_bits(problem))

    def most_message_bytes(self, problem: Objective) -> int:
        """Return the size of what is shared, or of a part, whichever is more."""
        count = most_selected(problem.plan)
        return max(masks.message_bytes(count), _PART_BYTES * count)

    def share(self, problem: Objective, cohort: Cohort, key: KeyPair) -> bytes:
        """Return what a device shares: it follows from its key and the task."""
        group = self._group(problem, cohort)
        return masks.share(group, key.account, masks.derive_secret(group, key))

    def check_share(self, problem: Objective, cohort: Cohort, device: AccountId, message: bytes) -> str | None:
        """Return what is wrong with what a device shares."""
        return masks.check_share_message(self._group(problem, cohort), device, message)

    def protect(self, problem: Objective, cohort: Cohort, key: KeyPair, values: Int64Vector) -> bytes:
        """Return the values under masks with all devices that have shared."""
        group = self._group(problem, cohort)
        secret = masks.derive_secret(group, key)
        body = masks.protect(group, key.account, secret, cohort.shares, values, _slot_bits(problem))
        shared = [(device, content_id(cohort.shares[device])) for device in cohort.devices if device in cohort.shares]
        return get_shared_name(shared) + body

    def check_protected(
        self, problem: Objective, task: Hash, device: AccountId, shared: bytes, body: bytes
    ) -> str | None:
        """Return what is wrong with a masked update: its size, or masks that nobody could take off."""
        fault = masks.check_protected(body[_NAME_BYTES:], problem.dimension, _slot_bits(problem))
        if fault is None and body[:_NAME_BYTES] != shared:
            return "masked with what other devices shared on another fork: nobody could take its masks off"
        return fault

    def combine(self, problem: Objective, bodies: Sequence[bytes]) -> bytes:
        """Return the sum of masked updates."""
        return masks.combine([body[_NAME_BYTES:] for body in bodies], problem.dimension, _slot_bits(problem))

    def helpers(self, problem: Objective, cohort: Cohort, revealed: Sequence[AccountId]) -> tuple[AccountId, ...]:
        """Return the devices that revealed: they hold shares of what is in the way."""
        return tuple(revealed)

    def threshold(self, problem: Objective, selected: int) -> int:
        """Return the plan's share of the selected devices, rounded up, and more than half."""
        return max(selected // 2 + 1, -(-_spec_of(problem).threshold_percent * selected // 100))

    def opens_last(self, problem: Objective) -> bool:
        """Taking masks off is quick."""
        return False

    def decrypt(
        self, problem: Objective, gathered: Gathered, key: KeyPair, parts: Mapping[AccountId, bytes]
    ) -> bytes | None:
        """Return this device's shares of what is in the way of the sum; None if it was not drawn."""
        group, shares = self._group(problem, gathered.cohort), gathered.cohort.shares
        try:
            question = masks.admit(group, shares, gathered.revealed, None)  # the role holds it to one for ever
            return masks.unmask(group, key, shares, gathered.revealed, question)
        except MaskError:
            return None

    def check_part(self, problem: Objective, gathered: Gathered, helper: AccountId, part: bytes) -> str | None:
        """Return what is wrong with a device's part."""
        group = self._group(problem, gathered.cohort)
        return masks.check_unmask(group, helper, gathered.cohort.shares, gathered.revealed, part)

    def open(self, problem: Objective, gathered: Gathered, parts: Mapping[AccountId, bytes]) -> list[int] | None:
        """Return the sum; None if too many sealed wrong shares."""
        group, shares = self._group(problem, gathered.cohort), gathered.cohort.shares
        to = gathered.total, parts, problem.dimension, _slot_bits(problem)
        try:
            values: list[int] = masks.open_sum(group, shares, gathered.revealed, *to).tolist()
        except MaskError:
            return None
        return values

    def _group(self, problem: Objective, cohort: Cohort) -> masks.Group:
        return masks.Group.of(cohort.task, cohort.devices, self.threshold(problem, len(cohort.devices)))


def _spec_of(problem: Objective) -> Masked:
    spec = problem.plan.aggregation
    assert isinstance(spec, Masked)
    return spec


def _slot_bits(problem: Objective) -> int:
    return masks.get_slot_bits(_spec_of(problem).value_bits, most_selected(problem.plan))


MASKS: Final = MaskScheme()
