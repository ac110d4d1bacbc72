"""The device's encoded data, kept between tasks: reading a file again for every phase would cost more than training."""

from threading import Lock

from fl.data.sources import DataSource
from fl.dataset import Dataset
from fl.plan.schema import Role


class DataShelf:
    """The dataset that was used last, by its role's schema. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: tuple[Role, Dataset] | None = None

    def load(self, source: DataSource, role: Role) -> Dataset:
        """Return the source's data encoded for ``role``. Raises the source's ``DataError``."""
        with self._lock:
            if self._held is None or self._held[0] != role:
                self._held = (role, source.load(role))
            return self._held[1]
