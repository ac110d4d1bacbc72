"""The attacks: what a hostile device joins with, what it answers, and what time it claims.

    plain      does its one thing, whatever the plan
    adaptive   knows the plan and goes as far as its policies let through (``attacks.fitting``)

Sources: sign flip and scaling (Blanchard et al. 2017), noise of variance 1 on the model (VBFL), labels turned 1 → 7
(Biscotti), the pixel backdoor (Gu et al. 2017; boosted by Bagdasaryan et al. 2020), ALIE (Baruch et al. 2019), vectors
near the others' against Krum (Fang et al. 2020).

Rules of this file: an attack is a pure function of a scene and a member.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np

from attacks.fitting import fit, longest, shortened, stretched
from attacks.poison import keep, plant, repeat_rows, turn_labels, turn_ones
from attacks.scene import Answer, Member, Scene
from chain.fixedpoint import Float64Vector
from chain.hashing import digest
from chain.ids import Hash
from fl.algorithms.carry import read_carry
from fl.dataset import Dataset

Aim = Literal["harm", "plant", "pay"]
Joins = Callable[[Dataset], Dataset]
Answers = Callable[[Scene, Member], Answer]
FAST: Final = 1000
"""Microseconds that a device must claim for a sample to be paid for it under ``timing``."""
HONEST_TIME: Final = 2000
"""Microseconds that a sample takes an honest device."""


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack. ``joins``: from its honest rows to those it enrols with; ``micros``: time claimed for a sample.

    aim       "harm": accuracy falls; "plant": a wrong answer of its choice; "pay": rewards for little or no work
    friends   do as large a share of the miners as of the devices vouch for it?
    """

    name: str
    summary: str
    aim: Aim
    adaptive: bool
    answers: Answers
    joins: Joins = keep
    micros: int = HONEST_TIME
    friends: bool = False


# --- plain -----------------------------------------------------------------------------------------------------------


def _work(scene: Scene, member: Member) -> Answer:
    return scene.work(member, member.joined)


def _own_vector(scene: Scene, member: Member) -> Float64Vector:
    return scene.vector_of(member.samples, scene.honest[member.account])


def _flip_sign(scene: Scene, member: Member) -> Answer:
    return scene.say(member, -_own_vector(scene, member))


def _scale(scene: Scene, member: Member) -> Answer:
    return scene.say(member, -10.0 * _own_vector(scene, member))


def _add_noise(scene: Scene, member: Member) -> Answer:
    own = _own_vector(scene, member)
    if not scene.releases_model:
        return scene.work(member, member.joined)
    return scene.say(member, own + member.generator(Hash(scene.task.digest)).standard_normal(own.size))


def _work_on(poison: Joins) -> Answers:
    return lambda scene, member: scene.work(member, poison(member.joined))


def _send_nothing(scene: Scene, member: Member) -> Answer:
    return scene.say(member, np.zeros(scene.problem.dimension))


def _copy(scene: Scene, member: Member) -> Answer:
    """Say what another device has been seen to say: now, or (where nothing is shown) a round ago; else nothing."""
    shown = scene.shown or (() if scene.past is None else scene.past.shown[scene.task.phase])
    if not shown:
        return _send_nothing(scene, member)
    entry = shown[int.from_bytes(digest(b"copy", member.account)[:4], "big") % len(shown)]
    return scene.say(member, scene.vector_of(entry.samples, entry.contribution))


def recycled(scene: Scene) -> Float64Vector:
    """Return what the last round settled, as one device's word: the model's movement, or the mean gradient."""
    if scene.past is None:
        return np.zeros(scene.problem.dimension)
    if scene.releases_model:
        return np.ldexp((scene.model - scene.past.model).astype(np.float64), -scene.problem.fraction_bits)
    return read_carry(scene.past.carry).mean_gradient(scene.problem.fraction_bits)


def _recycle(scene: Scene, member: Member) -> Answer:
    return scene.say(member, shortened(recycled(scene), longest(scene)))


# --- adaptive --------------------------------------------------------------------------------------------------------


def _push(scene: Scene) -> Float64Vector:
    """Return the way up as long as can be: gradients reversed, or a step along the gradient on the attackers' own rows.

    Not the opposite of the others' updates: where the gradient they start from is false already, that would be a cure.
    """
    aim = climb(scene) if scene.releases_model else -scene.typical
    return fit(scene, stretched(aim, longest(scene)))


def climb(scene: Scene) -> Float64Vector:
    """Return the gradient at the model on all attackers' honest rows."""
    parts = [scene.problem.model.gradient(scene.weights, member.own).vector for member in scene.members]
    total: Float64Vector = np.sum(parts, axis=0)
    return total


def _edge(scene: Scene, member: Member) -> Answer:
    return scene.forge(member, scene.marked(member, scene.shared("edge", _push)))


def _drift(scene: Scene, member: Member) -> Answer:
    return scene.work(member, member.joined) if scene.releases_model else _edge(scene, member)


def _noise_at_the_edge(scene: Scene, member: Member) -> Answer:
    def shout(scene: Scene) -> Float64Vector:
        noise = scene.members[0].generator(Hash(scene.task.digest)).standard_normal(scene.problem.dimension)
        return fit(scene, stretched(noise, longest(scene)))

    return scene.forge(member, scene.marked(member, scene.shared("noise", shout)))


def _little(scene: Scene) -> Float64Vector:
    """Return mean − z·σ of each coordinate, z by their formula, 1.5 at least (Baruch et al. 2019)."""
    liars = len(scene.members)
    count = max(scene.cohort, 2 * liars + 1)
    supporters = count // 2 + 1 - liars
    z = NormalDist().inv_cdf(max(0.5, (count - liars - supporters) / (count - liars)))
    return fit(scene, scene.typical - max(z, 1.5) * scene.seen.std(axis=0) * np.sign(scene.typical))


def _a_little(scene: Scene, member: Member) -> Answer:
    return scene.forge(member, scene.marked(member, scene.shared("alie", _little)))


def _boost(scene: Scene) -> Float64Vector:
    """Return the planted update, grown so that the attackers' share of the mean replaces the model."""
    vectors = [scene.vector_of(each.samples, scene.train(each, plant(each.own))) for each in scene.members]
    planted = np.mean(vectors, axis=0)
    factor = scene.cohort / len(scene.members) if scene.releases_model else 1.0
    return fit(scene, scene.typical + factor * (planted - scene.typical))


def _plant_boosted(scene: Scene, member: Member) -> Answer:
    return scene.forge(member, scene.marked(member, scene.shared("boost", _boost)))


def _ride(scene: Scene, member: Member) -> Answer:
    """Say what was settled a round ago with noise of a tenth of its length, so that it is nobody's copy."""
    base = shortened(recycled(scene), longest(scene))
    noise = member.generator(Hash(scene.task.digest)).standard_normal(base.size)
    length = 0.1 * float(np.linalg.norm(base)) or 0.01 * longest(scene)
    return scene.say(member, shortened(base + stretched(noise, length), longest(scene)))


ATTACKS: Final = (
    Attack("sign-flip", "sends the opposite of its honest vectors", "harm", False, _flip_sign),
    Attack("scaled", "sends −10 times its honest vectors", "harm", False, _scale),
    Attack("noise", "adds noise of variance 1 to every weight, as VBFL's attackers do", "harm", False, _add_noise),
    Attack("label-flip", "joins with and trains on labels turned to 9 − y", "harm", False, _work, turn_labels),
    Attack("ones-to-sevens", "its ones are labelled 7, as Biscotti's attackers do", "plant", False, _work, turn_ones),
    Attack("backdoor", "half of its rows bear a mark and are labelled 0", "plant", False, _work, plant),
    Attack("other-data", "joins with honest rows, trains on turned labels", "harm", False, _work_on(turn_labels)),
    Attack("zero", "sends zeros", "pay", False, _send_nothing),
    Attack("copy", "sends what another device has revealed", "pay", False, _copy),
    Attack("recycle", "sends what the last round settled", "pay", False, _recycle),
    Attack("edge", "gradients reversed, steps up the attackers' own loss, as long as passes", "harm", True, _edge),
    Attack("drift", "reverses gradients as far as passes, then trains honestly on them", "harm", True, _drift),
    Attack("noise-edge", "one random direction for all attackers, as long as passes", "harm", True, _noise_at_the_edge),
    Attack("alie", "a little is enough: the mean less some deviations", "harm", True, _a_little),
    Attack("backdoor-edge", "the planted update, boosted, as far as passes", "plant", True, _plant_boosted),
    Attack("rider", "recycled vectors with a tenth of noise", "pay", True, _ride),
    Attack("false-time", "recycles, and claims ten minutes", "pay", False, _recycle, micros=2_000_000),
    Attack("hasty", "recycles, and reports the little time that took", "pay", False, _recycle, micros=20),
    Attack("claims", "recycles, and claims the time that pays in full", "pay", True, _ride, repeat_rows, FAST),
    Attack("duplicates", "joins with each row three times, trains on them", "pay", True, _work, repeat_rows, FAST),
    Attack("colluders", "edge, with friends among the miners who verify", "harm", True, _edge, friends=True),
    Attack("rider-friends", "rider, with friends among the miners who verify", "pay", True, _ride, friends=True),
)
BY_NAME: Final = {attack.name: attack for attack in ATTACKS}
