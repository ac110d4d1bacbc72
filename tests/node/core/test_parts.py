"""The small parts of the core: job numbers, payload wants, refused items, the waiting room."""

import pytest

from chain.ids import Hash, Millis
from chain.payload import PayloadRef
from node.core.messages import PayloadStored
from node.core.refused import RefusedItems
from node.core.routes import Routes
from node.core.turn import JobTable, Turn
from node.core.wants import PayloadWants
from node.effects import CancelJob
from node.jobs.specs import FindStamp
from storage.memorystores import MemoryPayloadStore
from tests.node.core.quiet import QuietNetwork
from tests.node.core.town import key_of

SPEC = FindStamp("town", key_of(1).account, 0)
PAYLOAD = b"payload"
REF = PayloadRef.of(PAYLOAD)
BLOCK, UPDATE = Hash(bytes([1]) * 32), Hash(bytes([2]) * 32)


def test_a_job_ends_once_and_a_cancelled_one_never() -> None:
    """Numbers are not used again; cancelling what has ended asks nothing of the runner."""
    jobs = JobTable()
    turn = Turn(Millis(0), jobs)
    first, second = turn.start(SPEC), turn.start(SPEC)
    assert first != second
    assert jobs.end(first) == SPEC
    assert jobs.end(first) is None
    turn.cancel(first)
    turn.cancel(None)
    turn.cancel(second)
    turn.cancel(second)
    assert [CancelJob(second)] == [effect for effect in turn.effects if isinstance(effect, CancelJob)]
    assert jobs.end(second) is None
    assert turn.start(SPEC) not in (first, second)


def test_a_payload_is_fetched_until_nobody_needs_it() -> None:
    """The first who needs it has it fetched; it is called off only after the last has let go."""
    network, store = QuietNetwork(), MemoryPayloadStore()
    wants, turn = PayloadWants(store, network), Turn(Millis(0), JobTable())
    wants.want(BLOCK, [REF], (), turn)
    wants.want(UPDATE, [REF], (), turn)
    wants.release(UPDATE, turn)
    assert REF.id in network.wanted
    wants.release(BLOCK, turn)
    assert REF.id not in network.wanted
    assert len(wants) == 0


def test_what_is_stored_is_not_fetched_and_what_arrives_is_not_called_off() -> None:
    """The store is asked first; an arrival ends the need of all."""
    network, store = QuietNetwork(), MemoryPayloadStore()
    wants, turn = PayloadWants(store, network), Turn(Millis(0), JobTable())
    wants.want(BLOCK, [REF], (), turn)
    store.put(PAYLOAD)
    wants.on_payload_stored(PayloadStored(REF.id), turn)
    assert len(wants) == 0
    wants.release(BLOCK, turn)
    assert REF.id in network.wanted  # the network knows itself that it has arrived
    network.wanted.clear()
    wants.want(UPDATE, [REF], (), turn)
    assert network.wanted == {}


def test_refused_items_are_forgotten_the_oldest_first() -> None:
    """The memory is bounded, and a new look at an item keeps nothing longer than its place."""
    refused = RefusedItems(limit=2)
    ids = [Hash(bytes([number]) * 32) for number in range(3)]
    for id in ids:
        refused.add(id)
    assert [id in refused for id in ids] == [False, True, True]
    refused.clear()
    assert not any(id in refused for id in ids)


def test_a_hole_in_the_routing_table_is_a_fault() -> None:
    """A message nobody listens to is told by its name; one with listeners reaches them in order."""
    routes, turn, heard = Routes(), Turn(Millis(0), JobTable()), []
    routes.on(PayloadStored, lambda message, turn: heard.append(1), lambda message, turn: heard.append(2))
    routes.on(PayloadStored, lambda message, turn: heard.append(3))
    routes.dispatch(PayloadStored(REF.id), turn)
    assert heard == [1, 2, 3]
    with pytest.raises(LookupError, match="PayloadRef"):
        routes.dispatch(REF, turn)
