"""One node as one process: signals, logs, exit code.

SIGTERM or SIGINT stops it in order, within five seconds; a second one ends it at once, which loses nothing that was
acknowledged either.
"""

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from node.config import Config
from node.logs import ForwardToLog, NodeLog
from node.service.home import OpenHome, open_home, read_settings
from node.service.service import Running, Service
from storage.datakey import Opener

LOG_FILE: Final = Path("logs", "node.log")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_KEEP_AFTER_S: Final = (0.0, 15.0, 60.0, 600.0)
_GARBAGE: Final = 20_000
"""New objects after which the collector of garbage looks through them; Python's own 700 come several times in a turn
that takes a few hundred updates over, and little of what a node makes is in cycles."""
_SWITCH_S: Final = 0.0001
"""How long a thread that executes Python keeps the others waiting. Python's own 5 ms are lost each time the event loop
lets go of the interpreter (for a signature, a read of the database) while a job computes: a hundred times in a turn."""


def run_node(
    path: Path,
    *,
    config: Config | None = None,
    password: str | None = None,
    data_opener: Opener | None = None,
    record: Path | None = None,
    on_ready: Callable[[Running], None] | None = None,
) -> int:
    """Run the node of a data directory until it is told to stop; return the process's exit code.

    ``config`` replaces the directory's own settings. ``data_opener`` opens the device's data store. ``record`` names a
    file for the event log. What keeps the node from starting is raised: ``StartupError``, ``ConfigError``, or one of
    the room ``storage``'s errors. A fault while it runs is logged, and the code is 1. If a job can't be ended in time
    the process ends here, without returning.
    """
    settings = read_settings(path) if config is None else config
    if not faulthandler.is_enabled():  # should a library take the process down, the console says in which call
        faulthandler.enable(sys.__stderr__ or 2)
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(_GARBAGE, *gc.get_threshold()[1:])
    home = open_home(path, password, light=settings.device.light, data_opener=data_opener)
    try:
        with NodeLog(settings.log, path / LOG_FILE) as log:
            code, may_close = asyncio.run(_run(home, settings, log, record, on_ready))
        if not may_close:  # a thread still reads the stores, and would keep the process alive
            os._exit(code)
        return code
    finally:
        home.close()


async def _run(
    home: OpenHome, config: Config, log: NodeLog, record: Path | None, on_ready: Callable[[Running], None] | None
) -> tuple[int, bool]:
    """Run the service under signals; return the exit code, and whether its threads have ended."""
    loop = asyncio.get_running_loop()
    service = Service(home, config, log, record=record)
    library_log = ForwardToLog(log.logger)
    logging.getLogger().addHandler(library_log)
    loop.set_exception_handler(_make_handler(log.logger))
    for number in _SIGNALS:
        loop.add_signal_handler(number, _on_signal, number, service)
    keeping = asyncio.create_task(_keep_for_good(service), name="keep for good")
    if on_ready is not None:
        service.running.add_done_callback(lambda future: on_ready(future.result()) if not future.cancelled() else None)
    try:
        return await service.run(), service.jobs_ended
    except ExceptionGroup:
        log.logger.exception("the node stopped: a fault of its own")
        return 1, service.jobs_ended
    finally:
        keeping.cancel()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        logging.getLogger().removeHandler(library_log)


async def _keep_for_good(service: Service) -> None:
    """Let the collector of garbage pass by what the program is made of, and what the roles load when they first work.

    It would go through all of it again and again, tens of milliseconds each time, in the middle of a turn of the event
    loop. Only a few times: what is set aside in this way and ends up in a cycle is never freed.
    """
    await asyncio.wait({service.running})
    for seconds in _KEEP_AFTER_S:
        await asyncio.sleep(seconds)
        gc.collect()
        gc.freeze()


def _on_signal(number: int, service: Service) -> None:
    """Stop in order; when asked again, at once."""
    if service.is_stopping:
        os._exit(128 + number)
    service.stop(signal.Signals(number).name)


def _make_handler(logger: FilteringBoundLogger) -> Callable[[asyncio.AbstractEventLoop, dict[str, object]], None]:
    """Return what tells the log of exceptions that no task awaits: a broken TLS stream of a peer, mostly."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        logger.warning(
            "event loop",
            message=str(context.get("message")),
            exc_info=error if isinstance(error, BaseException) else None,
        )

    return handle
