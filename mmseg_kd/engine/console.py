"""What of the log goes to the console; the log file has all of it."""

from __future__ import annotations

import logging

from mmseg_kd.compat import DEVELOPER_MESSAGES


def quieten_console(logger: logging.Logger) -> None:
    """Keep what only a bug report needs from the console."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(_for_the_console)


def _for_the_console(record: logging.LogRecord) -> bool:
    # Some messages begin with a line of dashes.
    return not record.getMessage().lstrip(' \n\t-').startswith(DEVELOPER_MESSAGES)
