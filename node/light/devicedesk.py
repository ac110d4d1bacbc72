"""Drives the device role of a light node: what happens to it waits until the state it will read is proven.

Steps are taken in the order in which they came. While the first waits for a key, the others wait behind it; the
state may move on meanwhile, for a step asks only what is so when it is taken.
"""

from collections import deque

from node.core.turn import Turn
from node.events import JoinOrder, MachineSensed, Shutdown, Started
from node.jobs.results import JobResult
from node.jobs.specs import FindStamp, InspectData, TrainTask
from node.light.chain import LightSurroundings
from node.light.rehearsal import Step, find_unknown
from node.light.source import TipMoved
from node.light.statedesk import StateDesk, StateGained
from node.roles.device import Device, DeviceStatus
from p2p.events import PeerUp


class DeviceDesk:
    """The device, and the steps it has yet to take."""

    def __init__(self, device: Device, around: LightSurroundings, states: StateDesk) -> None:
        self._device = device
        self._around = around
        self._states = states
        self._steps: deque[Step] = deque()
        self._is_to_look = False
        self._status = DeviceStatus(False, (), 0, "", "")

    @property
    def status(self) -> DeviceStatus:
        """What the device does, as of its last step."""
        return self._status

    # --- what happens to it -----------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin."""
        self._look(turn)

    def on_tip(self, moved: TipMoved, turn: Turn) -> None:
        """What was trusted a moment ago may be final now."""
        self._look(turn)

    def on_peer_up(self, up: PeerUp, turn: Turn) -> None:
        """There is somebody to ask and to tell."""
        self._look(turn)

    def on_gained(self, gained: StateGained, turn: Turn) -> None:
        """The state is another one, or more of it is here."""
        self._look(turn)

    def on_join_order(self, order: JoinOrder, turn: Turn) -> None:
        """Serve one more plan."""
        self._put(lambda device, now: device.on_join_order(order, now), turn)

    def on_machine(self, facts: MachineSensed, turn: Turn) -> None:
        """The machine was looked at."""
        self._put(lambda device, now: device.on_machine(facts, now), turn)

    def on_stamp(self, spec: FindStamp, result: JobResult, turn: Turn) -> None:
        """A stamp was found."""
        self._put(lambda device, now: device.on_stamp(spec, result, now), turn)

    def on_inspected(self, spec: InspectData, result: JobResult, turn: Turn) -> None:
        """The data were looked at."""
        self._put(lambda device, now: device.on_inspected(spec, result, now), turn)

    def on_trained(self, spec: TrainTask, result: JobResult, turn: Turn) -> None:
        """An update was trained."""
        self._put(lambda device, now: device.on_trained(spec, result, now), turn)

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop; nothing of it needs the state."""
        self._steps.clear()
        self._device.on_shutdown(event, turn)

    # --- taking steps -----------------------------------------------------------------------------

    def _look(self, turn: Turn) -> None:
        """Have the device look at the state, once for however much has changed since it did."""
        self._is_to_look = True
        self._advance(turn)

    def _put(self, step: Step, turn: Turn) -> None:
        self._steps.append(step)
        self._advance(turn)

    def _advance(self, turn: Turn) -> None:
        """Take the steps that can be taken; have proven what the next one reads."""
        while self._states.is_whole and (self._steps or self._is_to_look):
            step = self._steps[0] if self._steps else _look
            key = find_unknown(self._device, self._around, step, turn)
            if key is not None:
                self._states.need((key,), turn)
                return
            if self._steps:
                self._steps.popleft()
            else:
                self._is_to_look = False
            step(self._device, turn)
            self._note(turn)

    def _note(self, turn: Turn) -> None:
        """Remember what the device does, for whoever asks while the state is another one."""
        if find_unknown(self._device, self._around, lambda device, now: _read_status(device), turn) is None:
            self._status = self._device.status()


def _look(device: Device, turn: Turn) -> None:
    device.look(turn)


def _read_status(device: Device) -> None:
    device.status()
