"""The validator sets a node knows: genesis' own, and those that final boundary blocks wrote into the state.

Only sets that are beyond doubt come in here, so a header judged by one is judged for ever. The newest
``MAX_EPOCHS`` are kept; a header of an older epoch can be judged again when its set is told again.
"""

from typing import Final

from chain.genesis import Genesis, PosParameters
from consensus.pos.fields import compute_first_mix
from consensus.pos.validators import Member, ValidatorSet

MAX_EPOCHS: Final = 256


def genesis_set(genesis: Genesis) -> ValidatorSet:
    """Return the set of epoch 0. ``ValueError`` for a network without validators."""
    parameters = genesis.engine
    if not isinstance(parameters, PosParameters):
        raise ValueError(f"the network {genesis.chain_id!r} has no validators: it runs on proof of work")
    members = sorted((Member(validator.account, validator.stake) for validator in parameters.validators), key=_account)
    return ValidatorSet(0, compute_first_mix(genesis), tuple(members))


def _account(member: Member) -> bytes:
    return member.account


class ValidatorSets:
    """Epoch → set, for the engine and the agreement of one node."""

    def __init__(self, genesis: Genesis) -> None:
        first = genesis_set(genesis)
        self._sets: dict[int, ValidatorSet] = {first.epoch: first}

    def __contains__(self, epoch: object) -> bool:
        return epoch in self._sets

    def __len__(self) -> int:
        return len(self._sets)

    def get(self, epoch: int) -> ValidatorSet | None:
        """Return an epoch's set, or None if it is not known (yet, or any more)."""
        return self._sets.get(epoch)

    @property
    def newest(self) -> ValidatorSet:
        """The set of the last epoch that is known."""
        return self._sets[max(self._sets)]

    def put(self, set: ValidatorSet) -> None:
        """Take the set that stands in the state after a final boundary block, or in a verified proof of it.

        ``ValueError`` for a malformed one, and for one that contradicts what was told before: then the node's database
        is wrong, or more than a third of the stake is.
        """
        fault = set.find_fault()
        if fault is not None:
            raise ValueError(f"validator set of epoch {set.epoch}: {fault}")
        known = self._sets.setdefault(set.epoch, set)
        if known != set:
            raise ValueError(f"two validator sets for epoch {set.epoch}")
        while len(self._sets) > MAX_EPOCHS:
            del self._sets[min(self._sets)]
