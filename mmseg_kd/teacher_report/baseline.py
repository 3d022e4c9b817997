"""The score of the student without a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.records.json_lines import is_number
from mmseg_kd.records.scalars import files_of_starts, read_rows


def find_baseline(
    baseline: float | str | None, key: str = 'model.teacher.baseline'
) -> dict[str, Any] | None:
    """Return the best mIoU of the student without a teacher.

    Args:
        baseline: mIoU in percent, the work_dir of the student's plain training, of which the
            best evaluation counts, or None.
        key: Where the config says so.

    Returns:
        `dict(mIoU=..., source=...)`, in percent and its source; None where unknown.

    Raises:
        UserError: It is neither, or the work_dir is missing or has no evaluation.
    """
    number = isinstance(baseline, int | float) and not isinstance(baseline, bool)
    if baseline is None:
        return None
    # A fraction would make every teacher look good.
    if number and (baseline == 0 or 1 < baseline <= 100):
        return {'mIoU': float(baseline), 'source': key}
    if number or not isinstance(baseline, str):
        raise UserError(
            f'{key}: {baseline!r} is no mIoU in percent; write a number such as 64.1, or the '
            "work_dir of the student's plain training"
        )
    folder = Path(baseline)
    if not folder.is_dir():
        raise UserError(
            f"{key}: the work_dir {baseline} does not exist; train the student's plain config "
            'first, or write its mIoU in percent as a number'
        )
    rows, _ = read_rows(files_of_starts(folder))
    rows = [row for row in rows if is_number(row.get('mIoU'))]
    if not rows:
        raise UserError(
            f'{key}: {baseline} has no evaluation (no mIoU in its */vis_data/scalars.json); name '
            'the work_dir of a training that validated, or write the mIoU in percent as a number'
        )
    best = max(rows, key=lambda row: row['mIoU'])
    source = f'{baseline}, iteration {best["step"]}'
    return {'mIoU': round(float(best['mIoU']), 2), 'source': source}
