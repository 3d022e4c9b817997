"""The score of the student without a teacher."""

from __future__ import annotations

from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.records.json_lines import is_number
from mmseg_kd.records.run_record import read_run


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
    if baseline is None:
        return None
    # A fraction would make every teacher look good.
    if is_number(baseline) and (baseline == 0 or 1 < baseline <= 100):
        return {'mIoU': float(baseline), 'source': key}
    if not isinstance(baseline, str):
        raise UserError(
            f'{key}: {baseline!r} is not an mIoU in percent; write a number such as 64.1, or the '
            "work_dir of the student's plain training"
        )
    try:
        best = read_run(baseline).best('mIoU')
    except UserError as error:
        raise UserError(f'{key}: {error}') from error
    if best is None:
        raise UserError(
            f'{key}: {baseline} has no evaluation; name the work_dir of a training that validated, '
            'or write the mIoU in percent as a number'
        )
    source = f'{baseline}, iteration {best["iteration"]}'
    return {'mIoU': round(float(best['mIoU']), 2), 'source': source}
