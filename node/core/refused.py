"""A bounded memory of what was refused lately, so that it is not fetched again and again."""

from collections import OrderedDict

from chain.ids import Hash


class RefusedItems:
    """Ids of refused transactions and updates; the oldest is forgotten first."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._ids: OrderedDict[Hash, None] = OrderedDict()

    def __contains__(self, id: Hash) -> bool:
        return id in self._ids

    def add(self, id: Hash) -> None:
        """Remember an id."""
        self._ids[id] = None
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)

    def clear(self) -> None:
        """Forget all: on another branch another verdict may hold."""
        self._ids.clear()
