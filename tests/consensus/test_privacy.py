"""The public privacy ledger: each update at its plan's price, worst cases reserved, budgets never overspent."""

import pytest
from msgspec.structs import replace

from chain.ids import INT_MAX, Height
from chain.transaction import CancelPlan, JoinPlan, LowerBudget, RegisterDevice
from chain.update import AttestedUpdate
from consensus.errors import Invalid
from consensus.privacy import get_charges, total_after
from consensus.records import Reservation
from consensus.rules import privacy as rules
from consensus.rules.plans import check_document
from consensus.rules.privacy import LOWER_BLOCKS, MAX_RESERVATIONS
from consensus.state import get_enrolment, get_privacy, put_record
from consensus.statekeys import privacy_key
from consensus.transition import check_transaction, execute, fill
from consensus.view import Overlay
from fl.plan.schema import Plan, encode_plan
from fl.privacy import charges
from fl.privacy.charges import Charge, worst_case
from tests.consensus.harness import DEVICES, OWNER, make_rules
from tests.consensus.private import LOSS, Make, PrivateChain, laplace_plan, open_plan, private_plan

ONE, TWO = DEVICES[:2]
WORST = 4 * LOSS


def refusal(chain: PrivateChain, key: object, body: object) -> Invalid:
    with pytest.raises(Invalid) as caught:
        check_transaction(chain, chain.context(), chain.sign(key, body), chain)  # type: ignore[arg-type]
    return caught.value


# --- what an update costs -------------------------------------------------------------------------


def test_an_update_is_charged_and_leaves_less_of_the_reservation() -> None:
    """Its loss moves from what is reserved to what is lost, and a record of it stays."""
    chain = PrivateChain()
    chain.make_device(ONE, 100_000)
    chain.make_device(TWO)
    plan = chain.begin(private_plan(devices=(2, 2, 2)), ONE, TWO)
    standing = chain.standing(ONE)
    assert (standing.loss, standing.reserved, standing.free) == (0, WORST, 100_000 - WORST)
    chain.include(chain.signed(plan, ONE))
    standing = chain.standing(ONE)
    assert (standing.loss, standing.reserved, standing.free) == (LOSS, WORST - LOSS, 100_000 - WORST)
    assert standing.reservations == (Reservation(plan, WORST - LOSS, LOSS),)
    (charge,) = get_charges(chain, ONE.account)
    assert (charge.plan, charge.round, charge.phase, charge.loss, charge.total) == (plan, 0, 0, LOSS, LOSS)
    assert (charge.height, charge.mechanism, charge.epsilon) == (chain.height, "gaussian", None)
    assert chain.standing(TWO).loss == 0


WRONG: dict[str, Make] = {
    "no noise under a plan with noise": lambda c, p, d: c.signed(p, d, mechanism="none", loss=0),
    "less than the plan's loss": lambda c, p, d: c.signed(p, d, loss=LOSS - 1),
    "more than the plan's loss": lambda c, p, d: c.signed(p, d, loss=LOSS + 1),
    "another mechanism": lambda c, p, d: c.signed(p, d, mechanism="laplace"),
    "a total below its own loss": lambda c, p, d: c.signed(p, d, LOSS - 1),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_the_charge_is_exactly_the_plans(wrong: Make) -> None:
    """Whatever else an update says of its cost keeps it out of every block, and a block with it is invalid."""
    chain = PrivateChain()
    chain.make_device(ONE)
    plan = chain.begin(private_plan(devices=(1, 1, 1)), ONE)
    update = wrong(chain, plan, ONE)
    assert chain.refused(update) == "update.privacy"
    empty = fill(chain, chain.context(), [], [], chain).body
    with pytest.raises(Invalid, match=r"update\.privacy"):
        execute(chain, chain.context(), replace(empty, updates=(AttestedUpdate(update, ()),)), chain)


def test_who_signs_too_small_a_total_is_charged_all_the_same() -> None:
    """A device that forgets what it released before pays for every update that a block carries."""
    chain = PrivateChain()
    chain.make_device(ONE)
    plan = chain.begin(private_plan(devices=(1, 1, 1)), ONE)
    for number in range(1, 3):
        chain.include(chain.signed(plan, ONE, LOSS))
        assert chain.recorded(ONE) == chain.charged(ONE) == number * LOSS


def test_what_no_block_carried_is_charged_by_the_signed_total() -> None:
    """An orphaned release is in the next one's total; the chain takes that, the larger."""
    chain = PrivateChain()
    chain.make_device(ONE)
    plan = chain.begin(private_plan(devices=(1, 1, 1)), ONE)
    chain.include(chain.signed(plan, ONE, 3 * LOSS))
    assert (chain.recorded(ONE), chain.charged(ONE)) == (3 * LOSS, LOSS)
    chain.include(chain.signed(plan, ONE, 4 * LOSS))
    assert (chain.recorded(ONE), chain.charged(ONE)) == (4 * LOSS, 2 * LOSS)


def test_updates_of_two_plans_may_come_in_the_other_order() -> None:
    """A is signed with total 1, B with total 2, B comes first: A is still taken, and nothing is counted twice."""
    chain = PrivateChain()
    chain.make_device(ONE)
    a, b = (chain.begin(private_plan(devices=(1, 1, 1), nonce=nonce), ONE) for nonce in (1, 2))
    first, second = chain.signed(a, ONE, LOSS), chain.signed(b, ONE, 2 * LOSS)
    chain.include(second)
    assert chain.recorded(ONE) == 2 * LOSS
    chain.include(first)
    assert not chain.rejected
    assert chain.recorded(ONE) == chain.charged(ONE) == 2 * LOSS


def test_two_rounds_and_a_fork_cost_what_was_released() -> None:
    """A block is taken back after its update left the device: the next one's total holds it, on whatever fork."""
    chain = PrivateChain()
    chain.make_device(ONE)
    plan = chain.begin(private_plan(devices=(1, 1, 1)), ONE)
    orphan = chain.signed(plan, ONE, LOSS)
    chain.include(orphan)
    chain.undo()
    assert (chain.recorded(ONE), get_charges(chain, ONE.account)) == (0, [])
    chain.mine()
    chain.include(orphan)
    assert chain.recorded(ONE) == LOSS, "the same bytes again cost nothing more"
    chain.include(chain.signed(plan, ONE, 2 * LOSS))
    assert chain.recorded(ONE) == 2 * LOSS


def test_totals_that_can_not_be_counted_are_refused() -> None:
    """Whatever a stranger signs, sums stay within 63 bits."""
    chain = PrivateChain()
    chain.make_device(ONE)
    plan = chain.begin(private_plan(devices=(1, 1, 1)), ONE)
    chain.include(chain.signed(plan, ONE, INT_MAX))
    assert chain.recorded(ONE) == INT_MAX
    chain.include(chain.signed(plan, ONE, INT_MAX))
    assert (chain.recorded(ONE), chain.charged(ONE)) == (INT_MAX, 2 * LOSS)
    assert total_after(INT_MAX, INT_MAX, 1, 0) == INT_MAX + 1


def test_pure_losses_add_up_beside_the_others() -> None:
    """Laplace releases have a pure epsilon; with the first Gaussian one there is none any more."""
    chain = PrivateChain()
    chain.make_device(ONE)
    pure = chain.begin(laplace_plan("0.1", devices=(1, 1, 1)), ONE)
    for number in range(1, 3):
        chain.include(chain.signed(pure, ONE))
        assert get_privacy(chain, ONE.account).epsilon == number * 100_000
        assert chain.recorded(ONE) == number * 5000, "0.1² / 2 of a zCDP"
    other = chain.begin(private_plan(devices=(1, 1, 1)), ONE)
    chain.include(chain.signed(other, ONE))
    assert get_privacy(chain, ONE.account).epsilon is None
    assert [charge.epsilon for charge in get_charges(chain, ONE.account)] == [100_000, 100_000, None]


# --- budgets --------------------------------------------------------------------------------------


def test_joining_reserves_the_worst_case_so_plans_side_by_side_can_not_overspend() -> None:
    """A budget of two worst cases takes two plans, and the third only when one has ended."""
    chain = PrivateChain()
    chain.make_device(ONE, 2 * WORST)
    long = {"devices": (1, 2, 2), "blocks": (40, 3, 2)}
    plans = [chain.begin(private_plan(nonce=nonce, **long), ONE) for nonce in (1, 2)]
    third = chain.submit(private_plan(nonce=3, **long))
    chain.mine()
    verdict = refusal(chain, ONE, JoinPlan(third, "clinic", 20, bytes(32)))  # type: ignore[arg-type]
    assert (verdict.rule, verdict.later) == ("plan.join.budget", True)
    assert f"its other plans may cost {2 * WORST} more" in verdict.detail
    chain.send(OWNER, CancelPlan(plans[0]))
    chain.mine()
    chain.join(third, ONE)
    chain.mine()
    assert get_enrolment(chain, third, ONE.account) is not None
    assert chain.standing(ONE).free == 0


def test_what_was_lost_is_not_there_for_the_next_plan() -> None:
    """A plan that has ended holds nothing; what it cost stays lost."""
    chain = PrivateChain()
    chain.make_device(ONE, WORST + LOSS)
    plan = chain.begin(private_plan(devices=(1, 1, 1)), ONE)
    for _ in range(2):
        chain.include(chain.signed(plan, ONE))
    assert chain.entry(plan).status == "finished"
    following = chain.submit(private_plan(devices=(1, 1, 1), nonce=1))
    chain.mine()
    verdict = refusal(chain, ONE, JoinPlan(following, "clinic", 20, bytes(32)))  # type: ignore[arg-type]
    assert (verdict.rule, f"it has lost {2 * LOSS}" in verdict.detail) == ("plan.join.budget", True)


@pytest.mark.parametrize("released", [0, 1, 2])
def test_what_a_plan_did_not_use_is_free_when_it_ends(released: int) -> None:
    """Once, and no more than that: finished or cancelled, with whatever was spent."""
    chain = PrivateChain()
    chain.make_device(ONE, 10 * WORST)
    kept = chain.begin(private_plan(devices=(1, 2, 2), nonce=8), ONE)
    plan = chain.begin(private_plan(devices=(1, 1, 1), blocks=(4, 3, 2)), ONE)
    assert chain.standing(ONE).reserved == 2 * WORST
    for _ in range(released):
        chain.include(chain.signed(plan, ONE))
    while chain.entry(plan).status == "running":
        chain.mine()
    assert chain.entry(plan).status == ("finished" if released == 2 else "cancelled")
    standing = chain.standing(ONE)
    left = WORST if chain.entry(kept).status in ("enrolling", "running") else 0
    assert (standing.loss, standing.reserved, standing.free) == (
        released * LOSS,
        left,
        10 * WORST - released * LOSS - left,
    )


def test_a_release_beyond_the_lifetime_budget_is_in_no_block() -> None:
    """Releases that no block carried count: they leave less for all, and the last of it is given to who comes first."""
    chain = PrivateChain()
    chain.make_device(ONE, 2 * WORST)
    a, b = (chain.begin(private_plan(devices=(1, 1, 1), nonce=nonce), ONE) for nonce in (1, 2))
    assert chain.refused(chain.signed(a, ONE, 2 * WORST + 1)) == "update.budget"
    chain.include(chain.signed(a, ONE, 2 * WORST - LOSS))
    assert (chain.recorded(ONE), chain.standing(ONE).free) == (2 * WORST - LOSS, LOSS - (2 * WORST - LOSS))
    chain.include(chain.signed(b, ONE))
    assert chain.recorded(ONE) == 2 * WORST
    assert chain.refused(chain.signed(a, ONE)) == chain.refused(chain.signed(b, ONE)) == "update.budget"


def test_honest_updates_fit_to_the_last_in_whatever_order() -> None:
    """Two plans that fill the budget exactly: signed for one and then the other, they come the other way round."""
    chain = PrivateChain()
    chain.make_device(ONE, 4 * LOSS)
    a, b = (chain.begin(private_plan(devices=(1, 1, 1), retries=0, nonce=nonce), ONE) for nonce in (1, 2))
    assert chain.standing(ONE).free == 0
    for done in (0, 2):
        first, second = (chain.signed(plan, ONE, (done + place) * LOSS) for place, plan in enumerate((a, b), 1))
        chain.include(second)
        chain.include(first)
        assert not chain.rejected
    assert chain.recorded(ONE) == chain.charged(ONE) == 4 * LOSS
    assert {chain.entry(plan).status for plan in (a, b)} == {"finished"}


def test_a_plan_never_costs_more_than_was_reserved_for_it() -> None:
    """Even were its reservation wrong, the rule holds by itself."""
    chain = PrivateChain()
    chain.make_device(ONE)
    plan = chain.begin(private_plan(devices=(1, 1, 1)), ONE)
    overlay = Overlay(chain)
    account = get_privacy(chain, ONE.account)
    put_record(overlay, privacy_key(ONE.account), replace(account, reservations=(Reservation(plan, LOSS - 1, 0),)))
    chain._keep(overlay)
    assert chain.refused(chain.signed(plan, ONE)) == "update.budget"


def test_a_device_without_a_budget_is_charged_and_never_refused() -> None:
    """0 is no bound; its losses are public all the same."""
    chain = PrivateChain()
    chain.make_device(ONE)
    plan = chain.begin(private_plan("0.001", devices=(1, 1, 1)), ONE)
    chain.include(chain.signed(plan, ONE))
    assert chain.standing(ONE).free is None
    assert chain.recorded(ONE) == 500_000_000_000


def test_a_device_is_in_so_many_private_plans_at_a_time() -> None:
    """Its updates look at all of them, so there is a limit; plans without noise don't count."""
    chain = PrivateChain()
    chain.make_device(ONE)
    overlay = Overlay(chain)
    plan = chain.begin(private_plan(devices=(1, 2, 2), blocks=(20, 3, 2)), ONE)
    crowd = tuple([Reservation(plan, 1, 0)] * MAX_RESERVATIONS)
    put_record(overlay, privacy_key(ONE.account), replace(get_privacy(chain, ONE.account), reservations=crowd))
    chain._keep(overlay)
    other, bare = chain.submit(private_plan(devices=(1, 2, 2), nonce=1)), chain.submit(open_plan(nonce=2))
    chain.mine()
    verdict = refusal(chain, ONE, JoinPlan(other, "clinic", 20, bytes(32)))  # type: ignore[arg-type]
    assert (verdict.rule, verdict.later) == ("plan.join.plans", True)
    check_transaction(chain, chain.context(), chain.sign(ONE, JoinPlan(bare, "clinic", 20, bytes(32))), chain)  # type: ignore[arg-type]


# --- lowering -------------------------------------------------------------------------------------


def test_a_budget_is_only_ever_lowered() -> None:
    """From none to any, then down; not up, not back to none, and not in every block."""
    chain = PrivateChain()
    assert refusal(chain, ONE, LowerBudget(5)).rule == "device.lower_budget.device"
    chain.make_device(ONE)
    assert refusal(chain, ONE, LowerBudget(0)).rule == "device.lower_budget.none"
    chain.send(ONE, LowerBudget(50_000))
    chain.mine()
    lowered = chain.height
    assert chain.standing(ONE).lifetime == 50_000
    for budget in (50_000, 50_001):
        assert refusal(chain, ONE, LowerBudget(budget)).rule == "device.lower_budget.raised"
    soon = refusal(chain, ONE, LowerBudget(49_999))
    assert (soon.rule, soon.later) == ("device.lower_budget.soon", True)
    lower = chain.sign(ONE, LowerBudget(49_999))
    check_transaction(chain, chain.context(height=Height(lowered + LOWER_BLOCKS)), lower, chain)
    with pytest.raises(Invalid, match="soon"):
        check_transaction(chain, chain.context(height=Height(lowered + LOWER_BLOCKS - 1)), lower, chain)


def test_lowering_exists_from_rules_version_3_on() -> None:
    """Chains of before refuse the kind by name."""
    chain = PrivateChain()
    chain.genesis = replace(chain.genesis, schedule=(make_rules(),))
    chain.make_device(ONE, 7)
    verdict = refusal(chain, ONE, LowerBudget(5))
    assert (verdict.rule, verdict.later) == ("transaction.kind", True)


def test_who_lowers_the_budget_in_the_middle_of_a_plan_gives_no_more_than_it_allows() -> None:
    """A plan without noise gets nothing any more, one with noise what still fits."""
    chain = PrivateChain()
    chain.make_device(ONE)
    bare = chain.begin(open_plan(devices=(1, 1, 1)), ONE)
    plan = chain.begin(private_plan(devices=(1, 1, 1)), ONE)
    chain.send(ONE, LowerBudget(LOSS))
    chain.mine()
    verdict = chain.signed(bare, ONE, 0)
    assert chain.refused(verdict) == "update.budget"
    assert not chain.rejected[verdict.id].later
    chain.include(chain.signed(plan, ONE))
    assert chain.recorded(ONE) == LOSS
    assert chain.refused(chain.signed(plan, ONE)) == "update.budget"


def test_registered_budgets_refuse_plans_without_noise() -> None:
    """Their loss has no bound."""
    chain = PrivateChain()
    chain.make_device(ONE, 10**9)
    plan = chain.submit(open_plan())
    chain.mine()
    verdict = refusal(chain, ONE, JoinPlan(plan, "clinic", 20, bytes(32)))  # type: ignore[arg-type]
    assert (verdict.rule, verdict.later) == ("plan.join.budget", False)


# --- plans ----------------------------------------------------------------------------------------


def test_a_plan_whose_budget_can_not_hold_its_worst_case_is_refused() -> None:
    """By name, with what it would take."""
    rules = make_rules(version=3)
    plan = private_plan(budget=WORST - 1)
    with pytest.raises(Invalid, match="must be at least the worst case") as caught:
        check_document(encode_plan(plan), rules)
    assert (caught.value.rule, str(WORST) in caught.value.detail) == ("plan.submit.plan", True)
    check_document(encode_plan(private_plan(budget=WORST)), rules)
    assert worst_case(private_plan()) == WORST


def test_chains_of_before_have_no_such_plans_and_no_such_keys() -> None:
    """Rules of version 1 and 2 refuse the format; a chain with plans without noise writes nothing new."""
    with pytest.raises(Invalid, match="needs rules version 3"):
        check_document(encode_plan(private_plan()), make_rules(version=2))
    chain = PrivateChain()
    chain.make_device(ONE)
    plan = chain.begin(open_plan(devices=(1, 1, 1)), ONE)
    chain.include(chain.signed(plan, ONE, 9))
    assert chain.recorded(ONE) == 9
    chain.include(chain.signed(plan, ONE, 4))
    assert (chain.recorded(ONE), not chain.rejected) == (9, True), "it may have been signed before the other"
    assert not [key for key in chain.state if key.startswith((b"s/privacy", b"s/charge", b"s/published"))]


def test_a_registration_keeps_its_budget() -> None:
    """What a device registers with is what the ledger goes by."""
    chain = PrivateChain()
    chain.send(ONE, RegisterDevice(77, 0))
    chain.mine()
    assert chain.standing(ONE).lifetime == 77


# --- what joining publishes -----------------------------------------------------------------------


def test_publishing_by_a_join_is_charged_once_for_the_same_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands apart from what releases sign; the same data in another plan cost only what they cost more there."""
    costs = {"test a": 700, "test b": 700, "test c": 900}

    def join_charge(plan: Plan) -> Charge:
        return Charge("randomised", costs[plan.title], costs[plan.title])

    monkeypatch.setattr(charges, "join_charge", join_charge)
    monkeypatch.setattr(rules, "join_charge", join_charge)
    chain = PrivateChain()
    chain.make_device(ONE, 10 * WORST)
    for number, (title, joined) in enumerate({"test a": 700, "test b": 700, "test c": 900}.items()):
        plan = chain.begin(replace(private_plan(devices=(1, 2, 2), nonce=number), title=title), ONE)
        assert get_privacy(chain, ONE.account).joined == chain.standing(ONE).loss == joined
        assert chain.standing(ONE).reserved == (number + 1) * WORST
    listed = [
        (charge.plan == plan, charge.phase, charge.loss, charge.total) for charge in get_charges(chain, ONE.account)
    ]
    assert listed == [(False, None, 700, 700), (True, None, 200, 900)]
    while chain.entry(plan).status == "enrolling":
        chain.mine()
    chain.include(chain.signed(plan, ONE))
    assert (chain.recorded(ONE), chain.standing(ONE).loss) == (LOSS, LOSS + 900)
    assert get_charges(chain, ONE.account)[-1].total == LOSS + 900
