"""The progress of a run: how far it is and how good."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from mmseg_kd.records.scalars import files_of_starts, read_rows


@dataclass
class Progress:
    """What a run has logged so far.

    Attributes:
        iteration: Iteration of the last log line or evaluation; 0 if there is none.
        iteration_times: Logged seconds per iteration.
        evaluations: Metrics by iteration; those of a resumed run replace the earlier ones.
    """

    iteration: int = 0
    iteration_times: list[float] = field(default_factory=list)
    evaluations: dict[int, dict[str, float]] = field(default_factory=dict)

    def best(self, metric: str, direction: str) -> float | None:
        """Return the best value of a metric, or None if it was not measured."""
        values = [row.get(metric, math.nan) for row in self.evaluations.values()]
        choose = max if direction == 'maximize' else min
        return choose(filter(math.isfinite, values), default=None)


def read_progress(work_dir: Path) -> Progress:
    """Read the scalars of all starts of a run; broken lines are left out."""
    progress = Progress()
    for row in read_rows(files_of_starts(work_dir))[0]:
        # Rows of hooks, such as the gradient report, have neither.
        if 'loss' not in row and 'time' not in row:
            continue
        progress.iteration = row['step']
        if 'loss' not in row:
            progress.evaluations[row['step']] = row
        elif isinstance(row.get('time'), float):
            progress.iteration_times.append(row['time'])
    return progress
