"""Each attack does what it says where nobody defends, and what is claimed to stop it does."""

from functools import cache

import pytest

from attacks.arena import Fight
from attacks.attackers import ATTACKS
from attacks.measures import accuracy, planted
from tests.attacks.worlds import HOSTILE, ROUNDS, fight, problem, world

FAIR = len(HOSTILE) / 20


@cache
def fought(attack: str, defence: str) -> Fight:
    return fight(attack, defence)


def _accuracy(attack: str, defence: str) -> float:
    return accuracy(problem(defence)[0], fought(attack, defence).model, world().test)


def _planted(attack: str, model_of: str, defence: str) -> float:
    found = planted(attack, problem(defence)[0], fought(model_of, defence).model, world().test)
    assert found is not None
    return found


def _paid(attack: str, defence: str) -> float:
    ended = fought(attack, defence)
    return ended.hostile.paid / (ended.hostile.paid + ended.honest.paid)


@pytest.mark.parametrize("attack", ["scaled", "noise", "label-flip", "edge", "drift", "noise-edge"])
def test_an_undefended_plan_loses_accuracy(attack: str) -> None:
    """Six of twenty devices are enough to spoil the mean by three points or more."""
    assert _accuracy(attack, "none") < _accuracy("", "none") - 0.03


@pytest.mark.parametrize("attack", ["sign-flip", "alie"])
def test_some_attacks_are_slow(attack: str) -> None:
    """They do not gain accuracy for anybody, at least."""
    assert _accuracy(attack, "none") <= _accuracy("", "none")


@pytest.mark.parametrize("attack", ["backdoor", "backdoor-edge"])
def test_a_backdoor_is_planted_in_an_undefended_model(attack: str) -> None:
    """Marked images are read as the attackers wish, where an honest model reads what is on them."""
    assert _planted(attack, attack, "none") > _planted(attack, "", "none") + 0.3


@pytest.mark.parametrize("attack", [each.name for each in ATTACKS if each.aim == "pay"])
def test_who_is_after_pay_gets_his_share_undefended(attack: str) -> None:
    """As much as honest devices, or more where samples are claimed that are not there."""
    share = _paid(attack, "none")
    expected = 3 * FAIR / (3 * FAIR + 1 - FAIR) if attack in ("claims", "duplicates") else FAIR
    assert share == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("attack", "defence"),
    [
        ("zero", "audit"),
        ("recycle", "audit"),
        ("claims", "audit"),
        ("other-data", "audit"),
        ("other-data", "replay"),
        ("edge", "replay"),
        ("rider", "replay"),
        ("false-time", "timing"),
        ("rider", "combined"),
    ],
)
def test_what_a_policy_is_for_it_refuses_whole(attack: str, defence: str) -> None:
    """Every update of the attackers is refused, none is paid, and no honest one is refused."""
    ended = fought(attack, defence)
    assert ended.hostile.sent > 0
    assert (ended.hostile.refused, ended.hostile.paid) == (ended.hostile.sent, 0)
    assert ended.honest.refused == 0


def test_copies_earn_nothing_where_devices_commit_first() -> None:
    """What was revealed a round ago is recognised; in the first round there was nothing to copy but zeros."""
    assert _paid("copy", "none") == pytest.approx(FAIR, abs=0.01)
    assert _paid("copy", "commit") < FAIR / ROUNDS
    assert fought("copy", "commit").honest.refused == 0


def test_a_single_forged_segment_mostly_passes_an_audit_and_a_whole_forged_training_never() -> None:
    """Two of ten segments are opened: four of five escape in a phase; sign flips are false from end to end."""
    forged = fought("edge", "audit").hostile
    assert 0.05 < forged.refused / forged.sent < 0.45
    flipped = fought("sign-flip", "audit").hostile
    assert flipped.refused == flipped.sent


def test_bounds_alone_do_not_save_a_plan_from_reversed_gradients_and_the_median_does() -> None:
    """The gradients of a few turn everybody's training round; the middle of all gradients they do not reach."""
    honest = _accuracy("", "bounds")
    assert _accuracy("drift", "bounds") < honest - 0.2
    assert _accuracy("drift", "median") > honest - 0.05


@pytest.mark.parametrize("attack", ["sign-flip", "scaled", "label-flip", "edge", "drift", "alie", "noise-edge"])
def test_everything_together_keeps_the_accuracy(attack: str) -> None:
    """Within five points of the run that nobody attacked, at thirty in a hundred, after four rounds."""
    assert _accuracy(attack, "combined") > _accuracy("", "combined") - 0.05


@pytest.mark.parametrize("attack", ["backdoor", "backdoor-edge"])
def test_the_median_keeps_a_backdoor_out(attack: str) -> None:
    """What a minority alone says of some pixels is not in the middle."""
    assert _planted(attack, attack, "combined") < _planted(attack, attack, "none") / 3
