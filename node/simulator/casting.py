"""Who lies: which machines of a world are Byzantine, how, with what share of the power, and against whom.

The share is one of hash power, exactly, or of the (equal) stakes, rounded down but at least one validator; of the
machines without any the same part, rounded down. The plans' owner is honest, and every honest machine knows at least
one honest address: without these two nothing could be promised.
"""

from dataclasses import dataclass

from node.simulator.byzantine.base import ANY, DEVICE, Behaviour, Plot
from node.simulator.byzantine.registry import PRODUCERS, assign, behaviours_of
from node.simulator.population import key_of
from node.simulator.schedule import source
from node.simulator.settings import SimulationSettings


@dataclass(frozen=True, slots=True)
class Casting:
    """``liars`` by machine; ``powers``: each miner's part of the hash power (or validator's of the stake), sum 1."""

    liars: dict[int, type[Behaviour]]
    powers: tuple[float, ...]
    plot: Plot


def cast_machines(settings: SimulationSettings) -> Casting:
    """Return who lies in a world."""
    random = source(settings.seed, "casting")
    share = settings.byzantine
    producers = list(range(settings.miner_count))
    others = list(range(settings.miner_count, settings.nodes))
    devices = list(range(settings.nodes, settings.machines - settings.light))  # a light one has nobody to lie to
    chosen: list[int] = []
    if share:
        eligible = [number for number in producers if number != settings.owner]
        count = min(len(eligible), max(1, int(share * len(producers)))) if len(producers) > 1 else 0
        if settings.engine == "pos":  # whose stakes are equal
            count = min(count, (len(producers) - 1) // 3)
        chosen += random.sample(eligible, count)
        for group in (others, devices):
            candidates = [number for number in group if number != settings.owner]
            chosen += random.sample(candidates, int(share * len(candidates)))
    first = PRODUCERS[settings.engine]
    roles = [first if number < settings.miner_count else DEVICE if number in devices else ANY for number in chosen]
    fitting = behaviours_of(settings.engine, has_light=bool(settings.light), has_noise=settings.noise)
    names = settings.behaviours or fitting
    drawn = zip(chosen, assign(names, roles, random), strict=True)
    liars = {number: behaviour for number, behaviour in drawn if behaviour is not None}
    honest = [number for number in range(settings.machines) if number not in liars]
    victim = random.choice([number for number in honest if number != settings.owner] or honest)
    victims = random.sample(honest, (len(honest) + 1) // 2)
    plot = Plot(
        victim=victim,
        victims=frozenset(bytes(key_of(settings.seed, number).account) for number in victims),
        accomplices=tuple(liars),
    )
    return Casting(liars, _draw_powers(settings, liars), plot)


def _draw_powers(settings: SimulationSettings, liars: dict[int, type[Behaviour]]) -> tuple[float, ...]:
    """Return the producers' parts of the power: unequal, the liars' together the share that was asked for."""
    random = source(settings.seed, "powers")
    weights = [random.uniform(0.5, 1.5) for _ in range(settings.miner_count)]
    lying = sum(weight for number, weight in enumerate(weights) if number in liars)
    honest = sum(weights) - lying
    share = settings.byzantine if lying else 0.0
    return tuple(
        [
            weight / lying * share if number in liars else weight / honest * (1 - share)
            for number, weight in enumerate(weights)
        ]
    )
