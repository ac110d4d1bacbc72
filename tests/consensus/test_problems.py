"""Compiled plans are kept by id, within bounds."""

import pytest

from chain.hashing import content_id
from consensus.problems import ProblemCache
from consensus.statekeys import document_key
from fl.plan.schema import encode_plan, plan_id
from tests.consensus.harness import make_plan

PLANS = [make_plan(nonce=nonce) for nonce in range(5)]
SIZE = len(encode_plan(PLANS[0]))


class Shelf:
    """A state with nothing but plans, which counts its readings."""

    def __init__(self) -> None:
        self.reads = 0
        self._documents = {document_key(plan_id(plan)): encode_plan(plan) for plan in PLANS}

    def get(self, key: bytes, /) -> bytes | None:
        self.reads += 1
        return self._documents.get(key)


def test_a_kept_plan_is_not_read_again():
    """Thousands of updates of one plan read it once."""
    shelf, cache = Shelf(), ProblemCache()
    found = [cache.get(shelf, plan_id(PLANS[0])) for _ in range(100)]
    assert shelf.reads == 1
    assert {problem.plan_id for problem in found} == {plan_id(PLANS[0])}


@pytest.mark.parametrize(("most", "most_bytes", "kept"), [(2, 10**6, 2), (9, 3 * SIZE, 3), (9, 1, 1)])
def test_the_oldest_make_room(most: int, most_bytes: int, kept: int):
    """By number and by bytes; the newest always stays."""
    shelf, cache = Shelf(), ProblemCache(most, most_bytes)
    for plan in PLANS:
        assert cache.get(shelf, plan_id(plan)).plan == plan
    assert len(cache) == kept
    before = shelf.reads
    for plan in PLANS[-kept:]:
        cache.get(shelf, plan_id(plan))
    assert shelf.reads == before
    cache.get(shelf, plan_id(PLANS[0]))
    assert shelf.reads == before + 1


def test_an_unknown_plan_is_this_nodes_fault():
    """Rules look for the plan first."""
    with pytest.raises(LookupError):
        ProblemCache().get(Shelf(), content_id(b"none"))
