"""The routing table: which part hears which message, and in which order."""

from collections.abc import Callable
from typing import TypeVar, cast

from node.core.turn import Turn
from node.jobs.results import JobResult
from node.jobs.specs import JobSpec

M = TypeVar("M")
S = TypeVar("S", bound=JobSpec)
Handler = Callable[[object, Turn], None]
JobHandler = Callable[[JobSpec, JobResult, Turn], None]


class Routes:
    """Handlers by the type of what they handle."""

    def __init__(self) -> None:
        self._handlers: dict[type, list[Handler]] = {}
        self._jobs: dict[type, JobHandler] = {}

    def on(self, kind: type[M], *handlers: Callable[[M, Turn], None]) -> None:
        """Send messages of this type to these handlers, in this order, after those named before."""
        self._handlers.setdefault(kind, []).extend(cast(tuple[Handler, ...], handlers))

    def on_job(self, kind: type[S], handler: Callable[[S, JobResult, Turn], None]) -> None:
        """Send the ends of jobs with this type of spec to this handler."""
        self._jobs[kind] = cast(JobHandler, handler)

    def dispatch(self, message: object, turn: Turn) -> None:
        """Let everybody hear a message. ``LookupError`` if nobody listens to its type: the table has a hole."""
        handlers = self._handlers.get(type(message))
        if handlers is None:
            raise LookupError(f"no part of the core handles {type(message).__name__}")
        for handler in handlers:
            handler(message, turn)

    def dispatch_job(self, spec: JobSpec, result: JobResult, turn: Turn) -> None:
        """Let the part that wanted a job hear its end."""
        self._jobs[type(spec)](spec, result, turn)
