"""What waits to be sent to one peer: a bounded queue a message class, urgent classes first.

A frame that does not fit its queue is dropped, never another one, and memory never grows with what a peer does not
read: at most a window of bytes is in the transport's hands, and the queues' caps are what can wait behind it.
"""

from collections import deque
from typing import Final

from chain.ids import Millis
from p2p.limits import CLASSES, SEND_WINDOW, MessageClass

_EMPTY: Final = b""


class SendQueue:
    """Frames for one connection, and how many bytes of them the transport still has."""

    __slots__ = ("_bytes", "_frames", "dropped", "in_transport", "moved", "waiting_bytes")

    def __init__(self, now: Millis) -> None:
        self._frames: dict[MessageClass, deque[bytes]] = {each: deque() for each in MessageClass}
        self._bytes: dict[MessageClass, int] = dict.fromkeys(MessageClass, 0)
        self.waiting_bytes = 0  # of the frames that wait here
        self.in_transport = 0
        self.dropped = 0
        self.moved = now  # when the transport last had nothing, or got rid of something

    def has_room(self, message_class: MessageClass, size: int) -> bool:
        """Would a frame of ``size`` bytes be taken?"""
        queue, limits = self._frames[message_class], CLASSES[message_class]
        if not queue:
            return True
        return len(queue) < limits.queue_frames and self._bytes[message_class] + size <= limits.queue_bytes

    def put(self, message_class: MessageClass, frame: bytes) -> bool:
        """Add a frame to its class's queue; False, and counted, if it was dropped."""
        size = len(frame)
        if not self.has_room(message_class, size):
            self.dropped += 1
            return False
        self._frames[message_class].append(frame)
        self._bytes[message_class] += size
        self.waiting_bytes += size
        return True

    def take(self, now: Millis) -> bytes:
        """Return what to hand to the transport now: whole frames, urgent ones first, while the window is open."""
        if self.in_transport == 0:
            self.moved = now
        if not self.waiting_bytes:
            return _EMPTY
        taken: list[bytes] = []
        for message_class, queue in self._frames.items():
            while queue and self.in_transport < SEND_WINDOW:
                frame = queue.popleft()
                self._bytes[message_class] -= len(frame)
                self.in_transport += len(frame)
                taken.append(frame)
        data = _EMPTY.join(taken)
        self.waiting_bytes -= len(data)
        return data

    def sent(self, size: int, now: Millis) -> None:
        """Note that the transport got rid of ``size`` bytes."""
        self.in_transport = max(0, self.in_transport - size)
        self.moved = now

    def stalled_ms(self, now: Millis) -> int:
        """Return for how long the transport has had bytes and got rid of none."""
        return now - self.moved if self.in_transport else 0
