"""The progress of a run: its iteration and its scores."""

import math
from pathlib import Path
from typing import NamedTuple

from mmseg_kd.records.scalars import files_of_starts, read_rows


class Progress(NamedTuple):
    """What a run has logged so far.

    Attributes:
        iteration: Iteration of the last log line or evaluation; 0 if there is none.
        iteration_times: Logged seconds per iteration.
        evaluations: Rows by iteration; those of a resumed run replace the earlier ones.
    """

    iteration: int
    iteration_times: list[float]
    evaluations: dict[int, dict[str, float]]

    def best(self, metric: str) -> float | None:
        """Return the highest value of a metric, or None if it was not measured."""
        values = [row.get(metric, math.nan) for row in self.evaluations.values()]
        return max(filter(math.isfinite, values), default=None)


def read_progress(work_dir: Path) -> Progress:
    """Read the scalars of all starts of a run; broken lines are left out."""
    # Rows of hooks, such as the gradient report, have neither a loss nor a time.
    rows = [r for r in read_rows(files_of_starts(work_dir))[0] if 'loss' in r or 'time' in r]
    times = [r['time'] for r in rows if 'loss' in r and isinstance(r.get('time'), float)]
    evaluations = {r['step']: r for r in rows if 'loss' not in r}
    return Progress(rows[-1]['step'] if rows else 0, times, evaluations)
