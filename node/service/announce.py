"""What the core publishes, on its way to subscribers, the log and the counters."""

from typing import Any, Final

from structlog.typing import EventDict, FilteringBoundLogger

from chain.codec import Record
from chain.ids import Millis
from consensus.events import PlanCancelled, PlanFinished, PlanSubmitted, RoundRetried, RoundSettled
from consensus.events import UpdateRefused as UpdateRefusedLate
from node.effects import Publish
from node.metrics import Metrics
from node.notices import (
    BlockFinal,
    BlockMined,
    BlockRefused,
    LedgerNotice,
    Notice,
    PeerLied,
    SigningRefused,
    TransactionSeen,
    UpdateRefused,
    UpdateSeen,
)
from node.rpc.hub import EventHub
from node.rpc.render import show

_DEBUG: Final = 10
_INFO: Final = 20
_WARNING: Final = 30
_ERROR: Final = 40
_LEVELS: Final[dict[type[Record], int]] = {
    BlockMined: _DEBUG,  # at level info the head that moved to it tells
    BlockFinal: _DEBUG,
    TransactionSeen: _DEBUG,
    UpdateSeen: _DEBUG,
    BlockRefused: _WARNING,
    UpdateRefused: _WARNING,
    SigningRefused: _ERROR,
    PeerLied: _WARNING,
}
_TOLD: Final = (PlanSubmitted, PlanFinished, PlanCancelled, RoundSettled, RoundRetried, UpdateRefusedLate)
"""What happens in blocks and is worth a line at level info; the rest is for debugging."""


class Announcer:
    """Gives each notice to the hub, the log and the metrics. ``prefix`` is the network's, for addresses."""

    def __init__(self, hub: EventHub, metrics: Metrics, logger: FilteringBoundLogger, prefix: str) -> None:
        self._hub = hub
        self._metrics = metrics
        self._logger = logger
        self._least_level = logger.get_effective_level()
        self._prefix = prefix

    def announce(self, publish: Publish, now: Millis) -> None:
        """Tell everybody who listens. A full block is thousands of notices: what nobody hears is not put into words."""
        notice = publish.notice
        level = _level_of(notice)
        if type(notice) is not LedgerNotice:  # of which a block has a thousand, and no counter counts them
            self._metrics.count(notice)
        if level < self._least_level and not self._hub.wants(publish.topic):
            self._hub.skip()
            return
        shown: dict[str, Any] = show(notice, self._prefix)
        self._hub.publish(publish.topic, shown, now)
        fields = {name: value for name, value in shown.items() if name not in ("kind", "event")}
        if isinstance(notice, LedgerNotice):
            fields |= {"what" if name == "kind" else name: value for name, value in shown["event"].items()}
        self._logger.log(level, shown["kind"], **fields)

    @property
    def is_log_wanted(self) -> bool:
        """Has anybody subscribed to the log's lines?"""
        return self._hub.wants("log")

    def tell_log(self, event: EventDict, now: Millis) -> None:
        """Give a line of the log to those who subscribed to them."""
        self._hub.publish("log", {name: _plain(value) for name, value in event.items()}, now)


def _level_of(notice: Notice) -> int:
    if isinstance(notice, LedgerNotice):
        return _INFO if isinstance(notice.event, _TOLD) else _DEBUG
    return _LEVELS.get(type(notice), _INFO)


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
