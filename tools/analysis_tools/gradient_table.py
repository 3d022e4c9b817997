"""Print a table of a run's losses from its gradient report.

python tools/analysis_tools/gradient_table.py WORK_DIR [--iterations I ...] [--average N]

For each distillation loss, at the beginning, the middle and the end of the run: its raw value; the
gradient norm share that it would have at weight 1 next to the labels' loss alone; its cosine with
the labels' gradient. Gradients are divided by the weight, so that a tiny weight, as in
segformer.b0.scratch.scales.py, does not matter.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from prettytable import PrettyTable

from mmseg_kd.command_line import at_least, run_tool
from mmseg_kd.errors import UserError
from mmseg_kd.records.gradient_reports import read_reports


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Table of a run's losses")
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('--iterations', type=int, nargs='+', help='else beginning, middle, end')
    parser.add_argument(
        '--average', type=at_least(1), default=3, help='over so many nearest reports'
    )
    args = parser.parse_args()
    file = args.work_dir / 'gradients.jsonl'
    reports = read_reports(file)
    if not reports:
        raise UserError(f'{file} is missing or empty: a run with kd_losses writes it')
    last = reports[-1]['iter']
    for iteration in args.iterations or (0, last // 2, last):
        near = sorted(reports, key=lambda report: abs(report['iter'] - iteration))[: args.average]
        print(_table(sorted(near, key=lambda report: report['iter'])))


def _table(reports: Sequence[Mapping[str, Any]]) -> str:
    spans = ', '.join(str(report['iter']) for report in reports)
    table = PrettyTable(['loss', 'weight', 'raw', 'share at weight 1', 'cosine'])
    table.title = f'mean of the iterations {spans}'
    table.align = 'r'
    table.align['loss'] = 'l'
    for name in reports[-1]['losses']:
        rows = [(report['losses'][name], report['task']['features']) for report in reports]
        rows = [(row, task) for row, task in rows if row['weight'] and None not in row.values()]
        if not rows:
            table.add_row([name, '0 or not measured', '-', '-', '-'])
            continue
        norms = [(row['features'] / abs(row['weight']), task) for row, task in rows]
        share = fmean(norm / (norm + task) for norm, task in norms)
        table.add_row(
            [
                name,
                f'{rows[-1][0]["weight"]:.3g}',
                f'{fmean(row["raw"] for row, _ in rows):.3g}',
                f'{100 * share:.2g} %' if share < 0.1 else f'{100 * share:.1f} %',
                f'{fmean(row["cosine"] for row, _ in rows):+.2f}',
            ]
        )
    return table.get_string()


if __name__ == '__main__':
    run_tool(main)
