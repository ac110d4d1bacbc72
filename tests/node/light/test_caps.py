"""What a lying full node can make a light device hold: what an honest one would have given, and no more."""

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import pytest

from chain.ids import Hash
from chain.transaction import MAX_PLAN_BYTES
from node.core.largevalue import LargeValue
from node.core.parts import MAX_VALUE_BYTES, SLICE_BYTES, AskProof, AskValue, ValueSlice, read_question, write
from node.light.core import LightCore
from tests.node.light.test_lies import account_of, run_plan, spoil
from tests.node.light.towns import LightTown, work_town

Slices = Callable[[AskValue, LightCore], ValueSlice]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The most bytes of large values that are under way at a time, as its only item."""
    alive: WeakSet[LargeValue] = WeakSet()
    begin, add = LargeValue.__init__, LargeValue.add
    most = [0]

    def note(value: LargeValue, *arguments: Any) -> None:
        begin(value, *arguments)
        alive.add(value)

    def look(value: LargeValue, offset: int, data: bytes) -> str | None:
        fault = add(value, offset, data)
        most[0] = max(most[0], sum(each.held_bytes for each in alive))
        return fault

    monkeypatch.setattr(LargeValue, "__init__", note)
    monkeypatch.setattr(LargeValue, "add", look)
    monkeypatch.setattr("node.core.headstates.MAX_INLINE_BYTES", 16)  # whatever is longer comes in slices
    return most


def town_with_a_liar(slices: Slices) -> LightTown:
    """An honest miner, a light device, and a full node that answers questions for slices with these."""
    town = work_town(1, 1, bystanders=1)
    told: list[bytes] = []

    def lie(block: Hash, question: bytes, honest: Callable[[Hash, bytes], bytes | None]) -> bytes | None:
        asked = read_question(question)
        if not isinstance(asked, AskValue):
            return honest(block, question)
        if honest(block, write(AskValue(asked.key, 0))) is None:
            return None  # it has no such state to lie about
        told.append(question)
        return write(slices(asked, town.lights[0].core))

    def wait(block: Hash, question: bytes, honest: Callable[[Hash, bytes], bytes | None]) -> bytes | None:
        return honest(block, question) if told or isinstance(read_question(question), AskProof) else None

    spoil(town.houses[1], lie)
    spoil(town.houses[0], wait)  # the honest node holds slices back until the liar was asked
    return town


def liars_of(town: LightTown) -> dict[bytes, str]:
    return {liar.peer: liar.reason for liar in town.lights[0].core.liars()}


def test_a_length_that_cannot_be_is_a_lie_before_anything_is_kept(held: list[int]) -> None:
    """A value of 64 MiB, the longest there is on any network: its first slice condemns who names it."""
    town = town_with_a_liar(lambda asked, core: ValueSlice(MAX_VALUE_BYTES, bytes(SLICE_BYTES)))
    run_plan(town)
    (reason,) = liars_of(town).values()
    assert reason.startswith(f"a value of {MAX_VALUE_BYTES} bytes where there can be")
    assert account_of(town.houses[1]) in liars_of(town)
    assert held[0] < 2048, "only true values were kept, which are small here"
    assert town.lights[0].core.device_status().releases == 4


def test_the_longest_lie_that_can_be_told_is_a_plan_of_the_longest_kind(held: list[int]) -> None:
    """Zeros, as many as the device can't tell from the truth before all are here: that is the cap, and it is 1 MiB."""

    def zeros(asked: AskValue, core: LightCore) -> ValueSlice:
        large = core._states._large
        total = MAX_PLAN_BYTES if large is None else large.most
        return ValueSlice(total, bytes(min(SLICE_BYTES, total - asked.offset)))

    town = town_with_a_liar(zeros)
    run_plan(town)
    assert liars_of(town) == {account_of(town.houses[1]): "a value that is not the state's"}
    assert 2048 < held[0] <= MAX_PLAN_BYTES
    assert town.lights[0].core.device_status().releases == 4
