"""Randomised rows on the chain: charged at joining, once for a copy, refused where no budget bears them."""

from msgspec.structs import replace

from chain.ids import Amount
from chain.number import Number
from chain.transaction import JoinSharing, LowerBudget
from consensus.privacy import get_charges, get_standing
from consensus.state import get_privacy
from fl.plan.schema import Replay
from fl.privacy.randomness import SeededRandom
from fl.shared import randomise_rows
from tests.consensus.harness import MINERS, make_data
from tests.consensus.test_replays import HONEST, ReplayedChain, replayed_plan

EPSILON = Number.of(2)
LOSS = 2_000_000
"""2² / 2, in micro-zCDP."""


def sharing_chain() -> ReplayedChain:
    """Return a chain with a plan of randomised rows that enrols."""
    return ReplayedChain(MINERS[0], source="randomised", epsilon=EPSILON)


def joining(chain: ReplayedChain, plan: bytes, seed: bytes) -> JoinSharing:
    """Return a join of the honest device with the copy that this seed draws."""
    role = replayed_plan().roles[0]
    payload = randomise_rows(role, EPSILON, make_data(HONEST), SeededRandom(seed))
    return JoinSharing(plan, role.name, 20, chain.keep(payload))  # type: ignore[arg-type]


def test_a_copy_is_charged_once_and_another_copy_again() -> None:
    """A second plan takes the same copy for nothing; a copy drawn anew costs as much as the first."""
    chain = sharing_chain()
    plans = [chain.plan]
    for nonce in (5, 6):
        plans.append(chain.submit(replace(replayed_plan(source="randomised", epsilon=EPSILON), nonce=nonce)))
        chain.mine()
    losses = []
    for plan, seed in zip(plans, (b"one", b"one", b"two"), strict=True):
        chain.send(HONEST, joining(chain, plan, seed))
        chain.mine()
        losses.append(get_privacy(chain, HONEST.account).joined)
    assert losses == [LOSS, LOSS, 2 * LOSS]
    assert [charge.mechanism for charge in get_charges(chain, HONEST.account)] == ["randomised", "randomised"]
    assert get_standing(chain, HONEST.account).reserved == 0


def test_a_lifetime_budget_that_does_not_bear_the_copy_keeps_its_device_out() -> None:
    """One micro-zCDP short; with it the device joins."""
    for budget in (LOSS - 1, LOSS):
        chain = sharing_chain()
        chain.send(HONEST, LowerBudget(budget))
        chain.mine()
        body = joining(chain, chain.plan, b"one")
        if budget < LOSS:
            assert chain.refusal(HONEST, body).rule == "plan.join.budget"
            continue
        chain.send(HONEST, body)
        chain.mine()
        assert get_standing(chain, HONEST.account).free == 0


def test_what_is_no_set_of_so_many_rows_is_refused() -> None:
    """Rows as they are, another count: by the payload."""
    chain = sharing_chain()
    body = joining(chain, chain.plan, b"one")
    assert chain.refusal(HONEST, chain.joining(HONEST)).rule == "plan.join_sharing.payload"
    assert chain.refusal(HONEST, replace(body, samples=19)).rule == "plan.join_sharing.payload"
    assert Replay("open", 1, Amount(0)).epsilon == Number(0, 0)
