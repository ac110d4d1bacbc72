"""What a device keeps between jobs: its encoded data, and the states of its last audited training.

Reading a file again for every phase would cost more than training, and so would training again for an audit.
"""

from threading import Lock
from typing import Final

from chain.ids import Hash
from fl.audit.opening import CommittedStates
from fl.data.sources import DataSource, GrowingSource
from fl.dataset import Dataset
from fl.plan.schema import Role

MAX_STATE_BYTES: Final = 1 << 27


class DataShelf:
    """The dataset that was used last, by its role's schema, and the last task's states. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: tuple[Role, Hash | None, Dataset] | None = None
        self._states: CommittedStates | None = None

    def load(self, source: DataSource, role: Role, plan: Hash) -> Dataset:
        """Return the source's data encoded for ``role``. Raises the source's ``DataError``.

        Where data grow they are those of the plan, and read anew as long as none are held for it.
        """
        with self._lock:
            if isinstance(source, GrowingSource):
                if self._held is None or self._held[:2] != (role, plan) or not source.is_intact(plan):
                    self._held = (role, plan, source.load_for(plan, role))
            elif self._held is None or self._held[0] != role:
                self._held = (role, None, source.load(role))
            return self._held[2]

    def keep_states(self, states: CommittedStates) -> None:
        """Keep the states of a training, if they are not too large; those before are forgotten."""
        size = sum(map(len, states.states))
        with self._lock:
            self._states = states if size <= MAX_STATE_BYTES else None

    def states_of(self, task: Hash) -> CommittedStates | None:
        """Return the states of the training for a task, if they are kept."""
        with self._lock:
            return self._states if self._states is not None and self._states.task == task else None
