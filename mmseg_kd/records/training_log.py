"""Facts that only a log file has: duration, device, data protocol."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

STAMP = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - ', re.MULTILINE)
# Messages of mmengine when a checkpoint does not fit.
UNEXPECTED = re.compile(r'^unexpected key in source state_dict: (.+)', re.MULTILINE)
MISSING = re.compile(r'^missing keys in source state_dict: (.+)', re.MULTILINE)
PROTOCOL = re.compile(r'^\s+(?:data|input|schedule)\s+(.+)', re.MULTILINE)
# Messages of mmengine's EarlyStoppingHook.
STOPPED = re.compile('did not improve in the last|Stopping threshold reached')
DEVICE = re.compile(r'^\s+device\s+(.+, torch \S+), seed', re.MULTILINE)


@dataclass
class LogFacts:
    """Facts from the logs of a run.

    Attributes:
        seconds: Time from the first line to the last, summed over all starts; None without a log.
        device: Device that it ran on, and the version of torch.
        protocol: Images, crop, iterations and batch, as the log has them.
        misfit: For a pretrained file that mmengine loaded although it did not fit: the number of
            tensors that only the file has, and that only the model has.
        stopped: Whether mmengine's EarlyStoppingHook ended the training.
    """

    seconds: float | None = None
    device: str | None = None
    protocol: str = ''
    misfit: tuple[int, int] | None = None
    stopped: bool = False


def read_logs(files: Iterable[Path]) -> LogFacts:
    """Read the logs of all starts of a run, in order."""
    facts = LogFacts()
    for file in files:
        text = file.read_text(encoding='utf-8', errors='replace')
        if not (device := DEVICE.search(text)) and '(test)' in text:
            # A test writes its log into the same folder.
            continue
        # A damaged log may have no date, or one that is not in the calendar.
        with suppress(IndexError, ValueError):
            stamps = STAMP.findall(text)
            begin, end = (datetime.strptime(stamps[i], '%Y/%m/%d %H:%M:%S') for i in (0, -1))
            facts.seconds = (facts.seconds or 0.0) + (end - begin).total_seconds()
        if device:
            facts.device = device[1]
            facts.protocol = '; '.join(PROTOCOL.findall(text, device.end(), device.end() + 4000))
        if (unexpected := UNEXPECTED.search(text)) and (missing := MISSING.search(text)):
            facts.misfit = (len(unexpected[1].split(',')), len(missing[1].split(',')))
        if device or '(train)' in text:
            facts.stopped = STOPPED.search(text) is not None
    return facts
