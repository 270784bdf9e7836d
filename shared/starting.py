"""How a process starts: with its settings and its log, or with one line that says why it does not."""

import sys
from typing import NoReturn

from shared import logs
from shared.errors import GlammError, InvalidSettings
from shared.settings import Settings, get_settings


def begin(process: str) -> Settings:
    """The settings of this process, whose log is open from now on; ends it as `refuse` does when they are wrong."""
    try:
        settings = get_settings()
    except InvalidSettings as error:
        refuse(process, error)
    logs.configure(process, settings)
    return settings


def refuse(process: str, error: GlammError) -> NoReturn:
    """End this process with status 2 and one line on stderr: an event of its log, or plain where that is for people."""
    if logs.wanted_format() == "console":
        print(" ".join(filter(None, ("cannot start:", error.detail, error.remedy))), file=sys.stderr)
    else:
        logs.open_log(process, "json")
        log = logs.get_logger("start")
        log.critical("process.not_started", error=error.detail, field=error.field, remedy=error.remedy)
    raise SystemExit(2)
