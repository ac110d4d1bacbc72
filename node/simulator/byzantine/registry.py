"""All behaviours by name, and who gets which."""

from collections.abc import Sequence
from random import Random
from typing import Final

from node.simulator.byzantine.base import ANY, DEVICE, MINER, VALIDATOR, Behaviour, fits
from node.simulator.byzantine.censorship import Censorship
from node.simulator.byzantine.clocks import TimeLie
from node.simulator.byzantine.copying import Copying
from node.simulator.byzantine.eclipse import Eclipse
from node.simulator.byzantine.equivocation import Equivocation
from node.simulator.byzantine.flooding import Flooding
from node.simulator.byzantine.forgery import Forgery
from node.simulator.byzantine.garbage import Garbage
from node.simulator.byzantine.overspending import Overspending
from node.simulator.byzantine.replay import Replay
from node.simulator.byzantine.selfish import SelfishMining
from node.simulator.byzantine.statelie import StateLie
from node.simulator.byzantine.voting import DoubleProposal, DoubleVote, Silence
from node.simulator.byzantine.withholding import BlockWithholding, PayloadWithholding

_ALL: Final[tuple[type[Behaviour], ...]] = (
    Equivocation,
    BlockWithholding,
    PayloadWithholding,
    SelfishMining,
    Censorship,
    TimeLie,
    Forgery,
    Copying,
    Replay,
    Eclipse,
    Flooding,
    Garbage,
    DoubleProposal,
    DoubleVote,
    Silence,
    StateLie,
    Overspending,
)
BEHAVIOURS: Final[dict[str, type[Behaviour]]] = {behaviour.name: behaviour for behaviour in _ALL}
PRODUCERS: Final = {"pow": MINER, "pos": VALIDATOR}


def behaviours_of(engine: str, *, has_light: bool = False, has_noise: bool = False) -> tuple[str, ...]:
    """Return the names of the behaviours that make sense under an engine, where there are light devices, or losses."""
    roles = (PRODUCERS[engine], DEVICE)
    return tuple(
        [
            name
            for name, behaviour in BEHAVIOURS.items()
            if any(fits(behaviour.role, role) for role in roles)
            and (has_light or behaviour is not StateLie)
            and (has_noise or behaviour is not Overspending)
        ]
    )


def assign(names: Sequence[str], roles: Sequence[str], random: Random) -> list[type[Behaviour] | None]:
    """Return a behaviour for each machine of these roles, each name about as often; None where none of them fits."""
    used = dict.fromkeys(names, 0)
    assigned: list[type[Behaviour] | None] = []
    for role in roles:
        fitting = [name for name in names if fits(BEHAVIOURS[name].role, role)]
        if not fitting:
            assigned.append(None)
            continue
        random.shuffle(fitting)
        name = min(fitting, key=lambda each: (used[each], BEHAVIOURS[each].role == ANY))  # what few can do goes first
        used[name] += 1
        assigned.append(BEHAVIOURS[name])
    return assigned
