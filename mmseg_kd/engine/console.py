"""What of the log goes to the console; the log file has all of it."""

from __future__ import annotations

import logging
import re

# What mmengine logs for its own developers, by the beginning of the message.
FILE_ONLY = re.compile(
    r'[\s-]*(System environment|Config:|Hooks will be executed|Distributed training is not used'
    r'|Checkpoints will be saved|Exp name|Advance dataloader|per class results|Load checkpoint'
    r'|resumed epoch|paramwise_options|The prefix is not set|"(FileClient|HardDiskBackend)")'
)


def quieten_console(logger: logging.Logger) -> None:
    """Keep what only a bug report needs from the console."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(_for_the_console)


def _for_the_console(record: logging.LogRecord) -> bool:
    return not FILE_ONLY.match(record.getMessage())
