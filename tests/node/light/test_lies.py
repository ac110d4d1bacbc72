"""Full nodes that lie to a light device: each lie is detected, its teller banned, and the plan is finished."""

from collections.abc import Callable

import pytest

from chain.codec import decode, encode
from chain.ids import Hash
from consensus.tree import StateProof
from node.core.parts import AskProof, AskValue, ProvenValue, ProvenValues, read_question
from node.notices import PeerLied
from p2p.messages import GetPart
from storage.base import StateSnapshot
from tests.node.core.plans import halts, submit
from tests.node.core.town import House
from tests.node.light.towns import PLAN, LightTown, device_world, work_town

Lie = Callable[[ProvenValues], ProvenValues | bytes | None]
NO_PROOF = StateProof((), None)


def each(change: Callable[[ProvenValue], ProvenValue]) -> Lie:
    return lambda honest: ProvenValues(tuple([change(value) for value in honest.values]))


LIES: dict[str, Lie] = {
    "another value": each(lambda one: ProvenValue((one.value or b"") + b"!", None, one.proof)),
    "nothing stands there": each(lambda one: ProvenValue(None, None, one.proof if one.value is None else NO_PROOF)),
    "nothing, with the value's own proof": each(
        lambda one: one if one.value is None else ProvenValue(None, None, one.proof)
    ),
    "a digest of nothing": each(lambda one: ProvenValue(None, Hash(bytes(32)), one.proof)),
    "a value and a digest": each(lambda one: ProvenValue(one.value or b"", Hash(bytes(32)), one.proof)),
    "a key left out": lambda honest: ProvenValues(honest.values[1:]),
    "one key too many": lambda honest: ProvenValues((*honest.values, *honest.values)),
    "garbage": lambda honest: b"\xc1" * 50,
    "nothing at all": lambda honest: b"",
}
"""Each is false whenever it is told: what is so by chance, like a key that really is absent, proves itself."""


def spoil(house: House, answer: Callable[[Hash, bytes, Callable[[Hash, bytes], bytes | None]], bytes | None]) -> None:
    """Let a full node answer questions for values by ``answer``, which is given what it would say."""
    desk = house.core._heads
    honest = desk.part
    desk.part = lambda block, question: answer(block, question, honest)  # type: ignore[method-assign]


def tell(house: House, lie: Lie) -> None:
    """Let a full node tell this lie."""

    def answer(block: Hash, question: bytes, honest: Callable[[Hash, bytes], bytes | None]) -> bytes | None:
        truth = honest(block, question)
        if truth is None or not isinstance(read_question(question), AskProof):
            return truth
        told = lie(decode(truth, ProvenValues, 1 << 20))
        return encode(told) if isinstance(told, ProvenValues) else told

    spoil(house, answer)


def account_of(house: House) -> bytes:
    return house.core.world.key.account


def run_plan(town: LightTown) -> None:
    """Learn a plan with one light device."""
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    town.learn(submit(town, PLAN))
    assert halts(town) == []


def test_every_lie_is_found_out_and_one_honest_node_is_enough() -> None:
    """A crowd of liars around one honest node: those who were asked are banned, and the device does its part."""
    town = work_town(1, 1, bystanders=len(LIES))
    liars = {account_of(house): name for house, name in zip(town.houses[1:], LIES, strict=False)}
    for house, name in zip(town.houses[1 : 1 + len(LIES)], LIES, strict=True):
        tell(house, LIES[name])
    light = town.lights[0]
    spoil(  # the honest node holds back until all others have been asked
        town.houses[0],
        lambda block, question, honest: honest(block, question) if len(light.core.liars()) == len(LIES) else None,
    )
    run_plan(town)
    found = {liar.peer for liar in light.core.liars()}
    assert found <= set(liars), "nobody honest is accused"
    assert {liars[peer] for peer in found} == set(LIES), "every lie was told and found out"
    assert found.isdisjoint({info.peer for info in light.core.peers()})
    assert {notice.peer for notice in light.notices if isinstance(notice, PeerLied)} == found
    assert light.core.device_status().releases == 4


def test_a_stale_state_is_no_answer() -> None:
    """A node that answers from an earlier state, each value with its proof, is a liar: it is not this block's."""
    town = work_town(1, 1, bystanders=1)
    liar = town.houses[1]
    kept: list[tuple[Hash, StateSnapshot]] = []

    def answer(block: Hash, question: bytes, honest: Callable[[Hash, bytes], bytes | None]) -> bytes | None:
        held = liar.core._heads._held
        if not kept and block in held:
            kept.append((block, held[block]))
        if not kept:
            return None
        held.setdefault(kept[0][0], kept[0][1])
        return honest(kept[0][0], question)

    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    spoil(liar, answer)
    run_plan(town)
    assert account_of(liar) in {each.peer for each in town.lights[0].core.liars()}


def test_who_never_knows_anything_is_set_aside() -> None:
    """A node that has nothing, though it says so, and one that does not answer at all, hold nobody up."""
    town = work_town(1, 1, bystanders=2)
    spoil(town.houses[0], lambda block, question, honest: None)
    town.houses[1].core.network._handlers[GetPart] = lambda session, message, now: None
    run_plan(town)
    light = town.lights[0].core
    assert light.liars() == (), "it is no lie"
    assert account_of(town.houses[0]) in light._states._aside
    assert light.device_status().releases == 4


def test_a_large_value_comes_in_slices_and_a_false_slice_has_one_culprit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The document and the model are proven by digest and fetched in slices; who gives false bytes is banned."""
    monkeypatch.setattr("node.core.headstates.MAX_INLINE_BYTES", 16)
    town = work_town(1, 1, bystanders=1)
    slices = []

    def answer(block: Hash, question: bytes, honest: Callable[[Hash, bytes], bytes | None]) -> bytes | None:
        truth = honest(block, question)
        if truth is None or not isinstance(read_question(question), AskValue):
            return truth
        slices.append(question)
        return truth[:-1] + bytes([truth[-1] ^ 1])

    spoil(town.houses[1], answer)
    spoil(  # the honest node gives proofs, and holds slices back until the other was asked
        town.houses[0],
        lambda block, question, honest: (
            honest(block, question) if slices or isinstance(read_question(question), AskProof) else None
        ),
    )
    run_plan(town)
    assert slices
    found = {liar.peer for liar in town.lights[0].core.liars()}
    assert found == {account_of(town.houses[1])}


def test_with_liars_alone_nothing_is_done() -> None:
    """Better no device than one that acts on a false state; it says that it waits, and who lied."""
    town = work_town(0, 0, bystanders=0)
    town.run(lambda: town.houses[0].core.chain.height >= 3, 60)
    tell(town.houses[0], LIES["another value"])
    light = town.add_light(device_world(town, 0), connect=[0])
    town.run(lambda: False, 40)
    assert not light.core.device_status().registered
    assert light.core.status(town.now).state != "synced"
    assert [liar.peer for liar in light.core.liars()] == [account_of(town.houses[0])]
