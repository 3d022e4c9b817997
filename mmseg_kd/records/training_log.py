"""Facts that only a log file has: duration, device, loaded weights, class scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

STAMP = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - ', re.MULTILINE)
MATCHED = re.compile(r'(\S+): .*layout.*matched (\d{1,9})/(\d{1,9}) tensors')
# Messages of mmengine when a checkpoint does not fit.
UNEXPECTED = re.compile(r'^unexpected key in source state_dict: (.+)', re.MULTILINE)
MISSING = re.compile(r'^missing keys in source state_dict: (.+)', re.MULTILINE)
PROCESSES = re.compile(r'^\s+GPU number: (\d{1,9})\b', re.MULTILINE)
DEVICE = re.compile(r'^\s+device\s+(.+), torch \S+, seed', re.MULTILINE)
# The table of classes, as mmseg and this project write it.
TABLE = re.compile(r'^\|\s*[Cc]lass\s*\|\s*IoU\s*\|.*\n((?:[|+].*\n)+)', re.MULTILINE)
ROW = re.compile(r'^\|\s*(\S[^|]*?)\s*\|\s*(\d+(?:\.\d+)?|nan|-)\s*\|', re.MULTILINE)


@dataclass
class LogFacts:
    """Facts from the logs of a run.

    Attributes:
        seconds: Time from the first line to the last, summed over all starts; None without a log.
        device: Device that it ran on.
        processes: Number of processes that trained together.
        pretrained: File of pretrained weights, tensors that matched, tensors of the backbone.
        misfit: For a checkpoint that did not fit, the number of tensors that only the file has,
            and that only the model has.
        class_iou: IoU by class in percent of each evaluation, in order; NaN if unknown.
    """

    seconds: float | None = None
    device: str | None = None
    processes: int = 1
    pretrained: tuple[str, int, int] | None = None
    misfit: tuple[int, int] | None = None
    class_iou: list[dict[str, float]] = field(default_factory=list)


def read_logs(files: Iterable[Path], tables: bool) -> LogFacts:
    """Read the logs of all starts of a run, in order; unreadable ones are left out.

    Args:
        files: The logs.
        tables: Whether to search for the tables of classes, which takes longer.
    """
    facts = LogFacts()
    for file in files:
        try:
            text = file.read_text(encoding='utf-8', errors='replace')
        except OSError:
            continue
        stamps = _first_and_last(text)
        if stamps:
            facts.seconds = (facts.seconds or 0.0) + (stamps[1] - stamps[0]).total_seconds()
        if device := DEVICE.search(text):
            facts.device = device[1]
        if processes := PROCESSES.search(text):
            facts.processes = int(processes[1])
        # Searching for a word first is much faster than the expressions.
        if 'layout' in text and (matched := MATCHED.search(text)):
            facts.pretrained = (matched[1], int(matched[2]), int(matched[3]))
        if 'in source state_dict' in text:
            facts.misfit = _misfit(text) or facts.misfit
        if tables:
            facts.class_iou += [_scores(table[1]) for table in TABLE.finditer(text)]
    return facts


def _misfit(text: str) -> tuple[int, int] | None:
    found = [pattern.search(text) for pattern in (UNEXPECTED, MISSING)]
    if None in found:
        return None
    unexpected, missing = (len(match[1].split(',')) for match in found)
    return unexpected, missing


def _first_and_last(text: str) -> Sequence[datetime] | None:
    first = STAMP.search(text)
    if first is None:
        return None
    # The last lines may be a table.
    last = STAMP.findall(text[-20_000:])[-1:] or [first[1]]
    try:
        return [datetime.strptime(stamp, '%Y/%m/%d %H:%M:%S') for stamp in (first[1], last[0])]
    except ValueError:
        # Not a date of the calendar.
        return None


def _scores(table: str) -> dict[str, float]:
    cells = {name: score for name, score in ROW.findall(table) if name != 'mean'}
    return {name: float('nan' if score == '-' else score) for name, score in cells.items()}
