"""One log for a whole process: an event a line on stderr, libraries' messages and uncaught errors among them."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor

from shared.settings import ENV_PREFIX, Settings, get_settings
from shared.states import Stage

_CHATTY = ("alembic", "celery.app.trace", "celery.worker.strategy", "httpcore", "httpx", "urllib3")
"""Loggers that write a line for each request or task at INFO; the processes write their own, with job and stage."""


def configure(process: str, settings: Settings | None = None) -> None:
    """Send every logger of this process through one handler; `process` names it on each line.

    Raises InvalidSettings when no settings are given and the environment's are wrong.
    """
    settings = settings or get_settings()
    open_log(process, settings.log_format, settings.log_level)


def wanted_format() -> str:
    """GLAMM_LOG_FORMAT as it stands, for those who have no settings, or none yet; "" where it is not set."""
    return os.environ.get(f"{ENV_PREFIX}LOG_FORMAT", "")


def open_log(process: str, log_format: str, level: str = "INFO") -> None:
    """As `configure`, without settings."""
    logging.captureWarnings(True)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(process, log_format))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in list(logging.root.manager.loggerDict):
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "DEBUG" else logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _log_uncaught()


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose methods take an event and its facts as keywords: `log.info("process.ready", seconds=1.2)`.

    An event is called noun.verb, in lower case and with underscores inside of a part.
    """
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


@contextmanager
def job_context(job_id: UUID, stage: Stage | None = None) -> Iterator[None]:
    """Every line this thread or task logs inside bears the job's id and stage."""
    facts = {"job_id": str(job_id)} | ({"stage": stage.value} if stage else {})
    with structlog.contextvars.bound_contextvars(**facts):
        yield


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(process: str, log_format: str) -> logging.Formatter:
    facts = {"process": process, "pid": os.getpid()}

    def complete(_logger: object, _method: str, event: EventDict) -> EventDict:
        event.pop("color_message", None)  # uvicorn's second copy of its message
        first = {
            "timestamp": event.pop("timestamp"),
            "level": event.pop("level"),
            "event": str(event.pop("event")).strip(),
        }
        return first | facts | dict(event)

    final: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, complete]
    if log_format == "json":
        final += [structlog.processors.format_exc_info, structlog.processors.UnicodeDecoder()]
        final += [structlog.processors.JSONRenderer(default=str, ensure_ascii=False)]
    else:
        # Not the default, which prints the local variables of every frame: secrets may be among them.
        plain = structlog.dev.plain_traceback
        final += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared(), processors=final)


def _log_uncaught() -> None:
    log = logging.getLogger("uncaught")

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("exception.uncaught", exc_info=(kind, error, trace))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            name = args.thread.name if args.thread else "?"
            exc_info = (args.exc_type, args.exc_value, args.exc_traceback)
            log.critical("exception.uncaught", exc_info=exc_info, extra={"of_thread": name})

    sys.excepthook = of_process
    threading.excepthook = of_thread
