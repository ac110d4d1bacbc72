"""What a plan's checks and rewards mean for those who take part, in a sentence each: commitments, contributions …

Rules of this file: words and the numbers in them; ``plan show`` and ``plan validate`` print them.
"""

from typing import TYPE_CHECKING

from commands.show import coins, counted

if TYPE_CHECKING:
    from fl.plan.schema import Plan


def describe_checks(plan: "Plan") -> dict[str, dict[str, int | str]]:
    """Return the numbers of the plan's checks by name, those it has."""
    from fl.plan.schema import Commit, LeaveOneOut, Pace, Replay, Shapley

    found: dict[str, dict[str, int | str]] = {}
    for policy in plan.verification.policies:
        if isinstance(policy, Commit):
            found["commit"] = {"blocks": policy.blocks}
        elif isinstance(policy, Pace):
            found["pace"] = {"ratio": policy.ratio, "outliers": policy.outliers}
        elif isinstance(policy, Replay):
            found["replay"] = {
                "source": policy.source,
                "attestations": plan.verification.attestations,
                "dispute_blocks": policy.dispute_blocks,
                "deposit": policy.deposit,
            }
    match plan.contribution:
        case LeaveOneOut(cap_percent=cap):
            found["contribution"] = {"rule": "leave-one-out", "cap_percent": cap}
        case Shapley(cap_percent=cap, permutations=orders):
            found["contribution"] = {"rule": "shapley", "cap_percent": cap, "permutations": orders}
    return found


def list_checks(plan: "Plan") -> list[tuple[str, str]]:
    """Return a label and a sentence for each of them."""
    checks = describe_checks(plan)
    lines: list[tuple[str, str]] = []
    if "replay" in checks:
        replay = checks["replay"]
        blocks, deposit = counted(int(replay["dispute_blocks"]), "block"), coins(int(replay["deposit"]))
        lines += [
            ("published", "each device's ROWS, AS THEY ARE, when it joins: for everybody to read, for ever"),
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
