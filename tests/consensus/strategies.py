"""Strategies for what accounts of a running chain may try."""

from hypothesis import strategies as st
from msgspec.structs import replace

from chain.ids import Amount, Hash
from chain.transaction import Body, CancelPlan, JoinPlan, OpenHoldout, SubmitPlan
from fl.plan.schema import encode_plan
from tests.consensus.harness import CHAIN, DEVICES, make_plan
from tests.strategies import amounts, attested_updates, hashes, naturals, transaction_bodies


def bodies_about(plan: Hash) -> st.SearchStrategy[Body]:
    """Bodies of every kind, many of which name this plan or carry a real one."""
    return st.one_of(
        transaction_bodies(),
        st.builds(JoinPlan, st.just(plan), st.sampled_from(["clinic", "bank"]), st.integers(0, 2000), hashes()),
        st.just(CancelPlan(plan)),
        transaction_bodies().filter(lambda body: isinstance(body, OpenHoldout)).map(lambda b: replace(b, plan=plan)),
        st.builds(
            lambda nonce, rounds, escrow: SubmitPlan(encode_plan(make_plan(nonce=nonce, rounds=rounds)), escrow),
            st.integers(0, 3),
            st.sampled_from([1, 2, 10**6]),
            amounts() | st.integers(10**6, 10**9).map(Amount),
        ),
    )


@st.composite
def spoilt_updates(draw: st.DrawFn, plan: Hash, task: Hash) -> tuple[object, int, int]:
    """An update for an open task with a few fields drawn at random, a device's number and a payload's size."""
    attested = draw(attested_updates())
    right = {"chain_id": CHAIN, "plan": plan, "round": 0, "phase": 0, "task": task, "samples": 20}
    wrong = draw(st.sets(st.sampled_from(sorted(right)), max_size=1))
    kept = {name: value for name, value in right.items() if name not in wrong}
    privacy = replace(attested.update.release.privacy, mechanism=draw(st.sampled_from(["none", "dp"])), loss=0)
    release = replace(attested.update.release, privacy=privacy, computation_us=draw(naturals()), **kept)
    update = replace(attested, update=replace(attested.update, release=release))
    return update, draw(st.integers(0, len(DEVICES) - 1)), draw(st.sampled_from([0, 8, 40, 41]))
