"""What a plan's checks and rewards mean for those who take part, in a sentence each: commitments, contributions …

Rules of this file: words and the numbers in them; ``plan show`` and ``plan validate`` print them.
"""

from typing import TYPE_CHECKING, Final

from commands.plan_counts import describe_statistic, list_statistic
from commands.show import coins, counted

if TYPE_CHECKING:
    from fl.plan.schema import Plan

_DELTA: Final = 1e-5
"""At which a loss is told as an ε as well; it has to be below one in as many as are hidden."""


def describe_checks(plan: "Plan") -> dict[str, dict[str, int | str]]:
    """Return the numbers of the plan's checks by name, those it has."""
    from fl.plan.checks import tag_of
    from fl.plan.schema import Commit, LeaveOneOut, Masked, Pace, Paillier, PaillierOwn, Replay, Shapley, StatisticsPlan
    from fl.privacy.charges import is_private

    if isinstance(plan, StatisticsPlan):
        return {"statistic": describe_statistic(plan)}
    found: dict[str, dict[str, int | str]] = {}
    for policy in plan.verification.policies:
        if isinstance(policy, Commit):
            found["commit"] = {"blocks": policy.blocks}
        elif isinstance(policy, Pace):
            found["pace"] = {"ratio": policy.ratio, "outliers": policy.outliers}
        elif isinstance(policy, Replay):
            found["replay"] = {
                "source": policy.source,
                "epsilon": str(policy.epsilon),
                "attestations": plan.verification.attestations,
                "dispute_blocks": policy.dispute_blocks,
                "deposit": policy.deposit,
            }
    match plan.contribution:
        case LeaveOneOut(cap_percent=cap):
            found["contribution"] = {"rule": "leave-one-out", "cap_percent": cap}
        case Shapley(cap_percent=cap, permutations=orders):
            found["contribution"] = {"rule": "shapley", "cap_percent": cap, "permutations": orders}
    if is_private(plan):
        found["noise"] = _describe_noise(plan)
    match plan.aggregation:
        case Paillier(threshold=threshold, cohort=cohort) | PaillierOwn(threshold=threshold, cohort=cohort):
            found["encryption"] = {"type": tag_of(plan.aggregation), "threshold": threshold, "cohort": cohort}
            found["encryption"] |= _describe_sizes(plan)
        case Masked(threshold_percent=percent, cohort=cohort):
            found["encryption"] = {"type": "masks", "threshold_percent": percent, "cohort": cohort}
    return found


def _describe_published(replay: dict[str, int | str]) -> str:
    if replay["source"] == "open":
        return "each device's ROWS, AS THEY ARE, when it joins: for everybody to read, for ever"
    return (
        f"a randomised copy of each device's rows, when it joins: of a row, label included, nobody ever learns more "
        f"than ε = {replay['epsilon']} allows; learning is from the copies alone"
    )


def list_checks(plan: "Plan") -> list[tuple[str, str]]:
    """Return a label and a sentence for each of them."""
    from fl.plan.schema import StatisticsPlan

    if isinstance(plan, StatisticsPlan):
        return list_statistic(plan)
    checks = describe_checks(plan)
    lines: list[tuple[str, str]] = []
    if "replay" in checks:
        replay = checks["replay"]
        blocks, deposit = counted(int(replay["dispute_blocks"]), "block"), coins(int(replay["deposit"]))
        lines += [
            ("published", _describe_published(replay)),
            (
                "repeats",
                f"{counted(int(replay['attestations']), 'miner')} each whole training, before they vouch for it",
            ),
            (
                "disputes",
                f"for {blocks} after the reveals, by anybody, for a deposit of {deposit} and the price of the work: "
                "every node repeats the training; a false update's miners lose half their bonds, half of that to who "
                "disputed it; for a true one the deposit is lost (fedchain plan dispute)",
            ),
        ]
    if "commit" in checks:
        blocks = counted(int(checks["commit"]["blocks"]), "block")
        lines.append(
            (
                "commits",
                f"before each phase's reveals, within {blocks}: only what was committed to may be revealed, and of "
                "equal updates the earliest commitment stands",
            )
        )
    if "pace" in checks:
        pace = checks["pace"]
        beyond = "counts for what its time allows" if pace["outliers"] == "less" else "is refused"
        told = f"who reports more than {pace['ratio']} times the speed of the round's median device {beyond}"
        lines.append(("pace", f"{told}; says nothing of fewer than 4 reports, and proves nothing"))
    if "noise" in checks:
        lines += _list_noise(checks["noise"])
    if "encryption" in checks:
        lines += _list_encryption(checks["encryption"])
    if "contribution" in checks:
        worth, rule = checks["contribution"], "what the round loses without it (leave-one-out)"
        if worth["rule"] == "shapley":
            rule = f"its Shapley value, over {counted(int(worth['permutations']), 'order')} both ways"
        lines.append(
            (
                "rewards",
                f"by what an update takes off the loss on the opened chunk: {rule}; "
                f"at most {worth['cap_percent']} % of the part by samples, nothing for copies",
            )
        )
    return lines


def _describe_noise(plan: "Plan") -> dict[str, int | str]:
    """Return the mechanism, whose presence it hides, and what releases cost, in micro-zCDP and as ε at 1e-5."""
    from fl.plan.schema import NoPrivacy
    from fl.privacy.charges import releases_of, update_charge, worst_case
    from fl.privacy.convert import epsilon_of
    from fl.privacy.summed import honest_devices, is_summed

    assert not isinstance(plan.privacy, NoPrivacy)
    charge, worst = update_charge(plan), worst_case(plan)
    return {
        "mechanism": charge.mechanism,
        "unit": plan.privacy.unit,
        "releases": releases_of(plan),
        "loss": charge.loss,
        "worst_loss": worst,
        "worst_epsilon": f"{epsilon_of(worst, _DELTA):.3g}",
        "delta": f"{_DELTA:g}",
        "honest": honest_devices(plan) if is_summed(plan) else 1,
    }


def _list_noise(how: "dict[str, int | str]") -> list[tuple[str, str]]:
    """Return who is hidden, at what cost, and what is not told any more."""
    hidden = "each single row of a device" if how["unit"] == "record" else "each device, with all its rows"
    cost = f"{counted(int(how['releases']), 'release')} of {how['loss']:,} micro-zCDP at most"
    told = f"{how['mechanism']}, drawn on the device: hides {hidden} from everybody"
    if how["mechanism"] == "gaussian-sum":
        told = (
            f"gaussian-sum, a part of it drawn on each device: hides {hidden} while {how['honest']} of those that "
            "reveal keep their parts to themselves, and single updates stay hidden"
        )
    return [
        ("noise", told),
        ("", f"{cost}: ε = {how['worst_epsilon']} at δ = {how['delta']}; what a round's loss was, nobody is told"),
    ]


def _describe_sizes(plan: "Plan") -> dict[str, int | str]:
    """Return how many members a committee's key is for, and what a device sends; nothing before there is a key."""
    from fl.envelope import largest_payload
    from fl.plan.schema import Committee
    from fl.problem import compile_problem
    from fl.secure.base import Cohort
    from fl.secure.registry import find_faults, scheme_of

    problem = compile_problem(plan)
    if not isinstance(plan.aggregation, Committee) or find_faults(problem):
        return {}
    members = scheme_of(plan).helpers(problem, Cohort(problem.plan_id, (), {}), ())
    return {"members": len(members), "update_bytes": largest_payload(problem)}


def _list_encryption(how: "dict[str, int | str]") -> list[tuple[str, str]]:
    """Return what is hidden from whom, and what nobody checks."""
    crowd = "its devices are said to be known, each one party"
    if how["cohort"] == "open":
        crowd = "anybody may join, so updates carry noise as well"
    if how["type"] != "masks":
        who = f"any {how['threshold']} members of the committee decrypt it, and every node checks what they open"
        dealt = ", and who dealt the key forgot it" if how["type"] == "paillier" else "; nobody dealt their keys"
        trust = f"trusted: fewer than {how['threshold']} members work together{dealt}"
    else:
        who = f"{how['threshold_percent']} % of the selected devices must stay to take the masks off"
        trust = "trusted: more than two thirds of the selected devices follow the protocol"
    sizes: list[tuple[str, str]] = []
    if "update_bytes" in how:
        each = f", once for each of {how['members']} members" if how["type"] == "paillier-own" else ""
        sizes = [("", f"a device sends {int(how['update_bytes']):,} bytes a phase{each}")]
    return [
        ("encrypted", f"single updates, for everybody; only the sum of a phase is opened: {who}"),
        ("", f"{trust}; {crowd}"),
        *sizes,
        ("unseen", "that an encrypted update is in bounds and comes from training: one bad device can spoil a sum"),
    ]
