"""A tick that a machine leaves out had nothing to do but what time alone brings."""

from dataclasses import replace

import pytest

from node.effects import Close, Dial, Effect, Send, StartJob
from node.events import Event, Tick
from node.jobs.specs import BuildBlock
from node.simulator.machine import Machine
from node.simulator.settings import SimulationSettings
from node.simulator.simulation import Simulation
from p2p.frames import FrameDecoder
from p2p.messages import Bye, GetAddresses, Message, Ping, decode_message

SETTINGS = SimulationSettings(seed=5, nodes=8, devices=3, miners=4, duration_ms=30_000, block_ms=2_000, plans=1)
OF_TIME = (Ping, GetAddresses, Bye)


def said(data: bytes) -> list[Message]:
    decoder = FrameDecoder(lambda _: 1 << 30)
    decoder.feed(data)
    frames = iter(decoder.next_frame, None)
    return [decode_message(frame) for frame in frames if frame is not None]


def is_of_time(effect: Effect) -> bool:
    """Is it a dial, the end of a connection, an old block built anew, or a message that nobody waits for?"""
    if isinstance(effect, StartJob):
        return isinstance(effect.spec, BuildBlock)
    if isinstance(effect, Send):
        return all(isinstance(message, OF_TIME) for message in said(effect.data))
    return isinstance(effect, Dial | Close)


@pytest.mark.parametrize("engine", ["pow", "pos"])
def test_what_no_part_awaits_no_tick_does(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tick of a world in which plans are learned is looked at, those too that would have been left out."""
    idle = busy = 0
    deliver = Machine.deliver

    def watch(machine: Machine, event: Event) -> None:
        core = machine.core
        if core is None or not isinstance(event, Tick):
            deliver(machine, event)
            return
        nonlocal idle, busy
        awaited = core.awaits_tick()
        busy, idle = busy + awaited, idle + (not awaited)
        done.clear()
        deliver(machine, event)
        if not awaited:
            assert all(is_of_time(effect) for effect in done), done

    done: list[Effect] = []
    monkeypatch.setattr(Machine, "deliver", watch)
    world = Simulation(replace(SETTINGS, engine=engine))
    step = world.invariants.on_step
    monkeypatch.setattr(
        world.invariants, "on_step", lambda machine, event, now, did: (done.extend(did), step(machine, event, now, did))
    )
    world.run_until(30_000)
    assert not world.invariants.violations
    assert idle > 5
    assert busy > 50
