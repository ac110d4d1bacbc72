"""All mutants, by the room they are put into."""

from typing import Final

from tests.mutants import (
    counting,
    doors,
    encryption,
    fleets,
    learning,
    ledger,
    network,
    news,
    noise,
    owndata,
    paillier,
    privacy,
    randomised,
    reach,
    sharing,
    stake,
    storage,
    summed,
    work,
)
from tests.mutants.base import Mutant

MUTANTS: Final[tuple[Mutant, ...]] = (
    *ledger.MUTANTS,
    *learning.MUTANTS,
    *work.MUTANTS,
    *stake.MUTANTS,
    *storage.MUTANTS,
    *owndata.MUTANTS,
    *network.MUTANTS,
    *news.MUTANTS,
    *paillier.MUTANTS,
    *encryption.MUTANTS,
    *sharing.MUTANTS,
    *privacy.MUTANTS,
    *noise.MUTANTS,
    *summed.MUTANTS,
    *randomised.MUTANTS,
    *counting.MUTANTS,
    *reach.MUTANTS,
    *doors.MUTANTS,
    *fleets.MUTANTS,
)
