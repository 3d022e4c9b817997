"""Which runs a figure shows, and their colours. A figure shows as many runs as are legible."""

from __future__ import annotations

from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.visualization.line_styles import LineStyle, black_line, line_style

MOST_CURVES = 8


def line_styles(collection: Collection) -> dict[str, LineStyle]:
    """Return line styles by name of the group: black for the baseline, a colour for the best."""
    baseline = collection.baseline
    best = [group for group in collection.ranked if group is not baseline][:MOST_CURVES]
    # In the order of the runs, so that a new run at the end leaves the others as they were.
    names = [group.name for group in collection.groups if group in best]
    looks = {} if baseline is None else {baseline.name: black_line()}
    return looks | {name: line_style(i) for i, name in enumerate(names)}


def first_groups(collection: Collection, count: int = MOST_CURVES + 1) -> list[Group]:
    """Return the baseline, the best students and a teacher, of those with a colour."""
    looks = line_styles(collection)
    first = [group for group in collection.ranked if group is collection.baseline]
    teachers = [group for group in collection.taught_from[:1] if group not in first]
    students = collection.students[: count - len(first) - len(teachers)]
    return [group for group in (*first, *students, *teachers) if group.name in looks]
