"""Fair shares: plans that always ask have the same time but for one task each, whatever the others' tasks are like."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ids import Hash, Millis
from node.roles.fairshare import FairShares

A, B, C = (Hash(bytes([number]) * 32) for number in range(3))
LENGTHS = st.lists(st.integers(0, 500), min_size=1, max_size=6)


def serve(shares: FairShares, asking: list[Hash], took: int, now: int = 0) -> tuple[FairShares, Hash]:
    """Return the shares after one task of the plan whose turn it is, and that plan."""
    plan = shares.choose(asking)
    return shares.begin(plan, Millis(now)).end(Millis(now + took)), plan


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([A, B, C]), LENGTHS, min_size=2), st.integers(1, 60))
def test_plans_that_always_ask_differ_by_one_task_each_at_most(lengths, tasks):
    """However long the tasks of one plan are, the others have their time too."""
    shares, had, count = FairShares(), dict.fromkeys(lengths, 0), dict.fromkeys(lengths, 0)
    now = 0
    for _ in range(tasks):
        plan = shares.choose(list(lengths))
        took = lengths[plan][count[plan] % len(lengths[plan])]
        shares = shares.begin(plan, Millis(now)).end(Millis(now + took))
        now += took + 7
        had[plan] += max(took, 1)
        count[plan] += 1
        for one in lengths:
            for other in lengths:
                assert abs(had[one] - had[other]) <= max([*lengths[one], 1]) + max([*lengths[other], 1])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 50), LENGTHS)
def test_who_was_away_can_neither_claim_the_past_nor_wait_for_it(before, lengths):
    """A plan that comes, new or again, makes up for one task of the others' at most, however long they had it alone."""
    shares = FairShares()
    for place in range(before):
        shares, plan = serve(shares, [A], lengths[place % len(lengths)])
        assert plan == A
    turns = []
    for _ in range(30):
        shares, plan = serve(shares, [A, B], 100)
        turns.append(plan)
        assert abs(turns.count(A) - turns.count(B)) * 100 <= max([*lengths, 1]) + 100


def test_a_task_that_was_given_up_is_paid_for_as_well():
    """Else a plan whose tasks are always left half way would have all of the device's time."""
    shares = FairShares().begin(A, Millis(10)).end(Millis(900))
    assert shares.choose([A, B]) == B
    assert shares.end(Millis(2000)) == shares
