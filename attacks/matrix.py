"""Which attack meets which defence, at which share, in which world; what is left out, and by which rule.

    policies   MNIST, dealt at random, 30 %: every attack against every defence
    heads      all of MNIST, 15 % and 30 %: what VBFL and Biscotti report
    shares     the same, undefended and with everything, 10 … 45 %
    pay        who wants to be paid for little, under each rule of pay
    openings   how many segments an audit opens
    unlike     two digits a device, 15 % and 30 %
    public     rows that may be published: replay in place of audits
    network    a hidden layer; census: a9a, sparse rows

Left out: what can't differ (``_can_matter``). Rules of this file: the order is that in which runs are made, whole
groups first, all seeds of a cell together.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from attacks.attackers import ATTACKS, BY_NAME
from attacks.defences import BY_NAME as DEFENCES
from attacks.defences import DEFENCES as ALL_DEFENCES
from attacks.measures import Case
from attacks.world import Setting, Split

SEEDS: Final = 5
SHARES: Final = (10, 15, 20, 30, 45)
POLICY_SHARE: Final = 30
HEAD_SHARES: Final = (15, 30)
_MEETS: Final = {
    "scaled": ("none", "bounds", "audit", "combined"),
    "zero": ("none", "commit", "holdout", "audit", "combined", "leave-one-out", "shapley"),
    "copy": ("none", "commit", "audit", "combined", "leave-one-out", "shapley"),
    "false-time": ("none", "bounds", "timing", "pace", "combined"),
    "claims": ("none", "bounds", "timing", "pace", "holdout", "audit", "combined", "leave-one-out", "shapley"),
}
"""Attacks that one policy ends: the others are as if it had none (docs/attacks.md says which)."""
_ADAPTIVE: Final = tuple(each.name for each in ATTACKS if each.adaptive and each.aim != "pay" and not each.friends)
_SHARE_ATTACKS: Final = ("noise", "label-flip", "ones-to-sevens", "backdoor", *_ADAPTIVE)
_PAY_ATTACKS: Final = tuple(each.name for each in ATTACKS if each.aim == "pay" and not each.friends)
_PAYING: Final = ("bounds", "timing", "pace", "commit", "leave-one-out", "shapley")
_LATER: Final = {"pace", "leave-one-out", "shapley", "combined-clip", "combined-5", "combined-10", "open"}
_ALONE: Final = tuple(each.name for each in ALL_DEFENCES if each.name not in _LATER)
_UNLIKE: Final = (
    "none",
    "holdout",
    "audit",
    "replay",
    "median",
    "multi-krum",
    "norm-clip",
    "combined",
    "combined-clip",
)
_OPENINGS: Final = ("combined", "combined-5", "combined-10")
_OPEN_ATTACKS: Final = ("label-flip", "backdoor", "edge", "colluders", "rider-friends")
_EVERY: Final = tuple(each.name for each in ATTACKS)
_UNLIKE_ATTACKS: Final = ("sign-flip", "label-flip", "edge", "drift", "noise-edge", "alie", "backdoor-edge")
_OTHER_ATTACKS: Final = ("label-flip", "edge", "drift", "alie")


def groups() -> dict[str, list[Case]]:
    """Return every case that is run, by group."""
    ends = ("none", "combined")
    return {
        "policies": list(_cases("mnist", "iid", _EVERY, _ALONE, (POLICY_SHARE,))),
        "shares": [
            *_cases("mnist", "iid", _SHARE_ATTACKS, ends, SHARES),
            *_cases("mnist", "iid", ("ones-to-sevens", "backdoor"), ends, (0,)),  # nobody attacks
        ],
        "heads": [
            *_cases("mnist-full", "iid", ("noise", "edge"), ends, (15,)),
            *_cases("mnist-full", "iid", ("label-flip", "ones-to-sevens", "edge"), ends, (30,)),
        ],
        "unlike": [
            *_cases("mnist", "two-digits", _UNLIKE_ATTACKS, _UNLIKE, (POLICY_SHARE,)),
            *_cases("mnist", "two-digits", _UNLIKE_ATTACKS, ("none", "combined-clip"), (15,)),
        ],
        "pay": list(_cases("mnist", "iid", _PAY_ATTACKS, _PAYING, (POLICY_SHARE,))),
        "openings": list(_cases("mnist", "iid", ("edge", "drift"), _OPENINGS, (30, 45))),
        "public": list(_cases("mnist", "iid", _OPEN_ATTACKS, ("replay", "open"), (POLICY_SHARE,))),
        "census": list(_cases("a9a", "iid", _OTHER_ATTACKS, ends, HEAD_SHARES)),
        "network": list(_cases("mnist-net", "iid", ("label-flip", "edge", "backdoor-edge"), ends, (POLICY_SHARE,))),
    }


def quick() -> dict[str, list[Case]]:
    """Return a few cases that take minutes: one seed, some attacks, the ends of the defences."""
    attacks = ("sign-flip", "noise", "label-flip", "backdoor", "recycle", "edge", "alie", "backdoor-edge")
    return {"policies": list(_cases("mnist", "iid", attacks, ("none", "combined"), HEAD_SHARES, seeds=1))}


def _cases(
    setting: Setting,
    split: Split,
    attacks: Iterable[str],
    defences: Iterable[str],
    shares: Iterable[int],
    seeds: int = SEEDS,
) -> Iterator[Case]:
    """Yield the cases with nobody attacking, then those with somebody."""
    chosen, known = list(defences), list(shares)
    for defence in chosen:
        yield from (Case(setting, split, "", defence, 0, seed) for seed in range(seeds))
    for attack in attacks:
        for percent in known:
            for defence in chosen:
                if _can_matter(attack, defence):
                    yield from (Case(setting, split, attack, defence, percent, seed) for seed in range(seeds))


def _can_matter(attack: str, defence: str) -> bool:
    """Could this defence do anything else to this attack than another one that is run?"""
    each, plan = BY_NAME[attack], DEFENCES[defence]
    holds_to_rows = {"audit", "replay"} & set(plan.verification)
    if attack == "other-data" and not holds_to_rows:
        return False  # it is label-flip to whoever does not look at the rows
    if each.friends and not holds_to_rows:
        return False  # nobody's word is asked for
    if attack in _MEETS and defence not in _MEETS[attack]:
        return False
    if defence in ("timing", "pace") and each.aim != "pay":
        return False  # they judge times, and so pay
    return each.aim != "pay" or not plan.rule or bool(plan.verification)  # rules refuse nobody and pay as bounds do
