"""How far and how good a run is, by what it logged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from mmseg_kd.records.json_lines import read_json_lines
from mmseg_kd.records.scalars import files_of_starts


@dataclass
class Progress:
    """What a run logged so far.

    Attributes:
        iteration: Of the last log line or evaluation; 0 where there is none.
        iteration_times: Seconds an iteration, as logged.
        evaluations: Metrics by iteration; those of a resumed run replace the earlier ones.
    """

    iteration: int = 0
    iteration_times: list[float] = field(default_factory=list)
    evaluations: dict[int, dict[str, float]] = field(default_factory=dict)

    def best(self, metric: str, direction: str) -> float | None:
        """The best value of a metric, or None where it was not measured."""
        values = [row[metric] for row in self.evaluations.values() if metric in row]
        values = [value for value in values if math.isfinite(value)]
        if not values:
            return None
        return max(values) if direction == 'maximize' else min(values)


def read_progress(work_dir: Path) -> Progress:
    """Read the scalars of all starts of a run; lines that a kill cut short are left out."""
    progress = Progress()
    for file in files_of_starts(work_dir):
        for row in read_json_lines(file)[0]:
            step = row.get('step')
            if not isinstance(step, int):
                continue
            if 'loss' in row:
                progress.iteration = step
                if isinstance(row.get('time'), float):
                    progress.iteration_times.append(row['time'])
            elif 'time' in row:
                # What hooks log, such as the gradient report, has none.
                progress.iteration = step
                progress.evaluations[step] = row
    return progress
