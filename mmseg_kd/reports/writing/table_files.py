"""The tables of a report as CSV and LaTeX, for papers and slides."""

import csv
from pathlib import Path

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.records.message import MINUS
from mmseg_kd.reports.writing.document import NONE, Table

# What LaTeX reads as markup, and the signs that its default fonts lack.
LATEX = {
    **{c: f'\\{c}' for c in '&%$#_{}'},
    **{'\\': r'\textbackslash{}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}'},
    **{MINUS: '$-$', '±': r'$\pm$', NONE: '--', '<': '$<$', '>': '$>$'},
}


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write a table as `NAME.csv` and, for the package booktabs, as `NAME.tex`."""
    rows = [[str(cell) for cell in row] for row in (table.headings, *table.rows)]
    files = [folder / f'{table.name}{ending}' for ending in ('.csv', '.tex')]
    # Excel recognises UTF-8 only by a byte order mark.
    with atomic_path(files[0]) as partial, partial.open('w', newline='', encoding='utf-8-sig') as f:
        csv.writer(f).writerows([[_plain(cell) for cell in row] for row in rows])
    heading, *lines = (' & '.join(map(_latex, row)) + r' \\' for row in rows)
    columns = ''.join('l' if text else 'r' for text in table.text_columns)
    begin, end = rf'\begin{{tabular}}{{{columns}}}', r'\end{tabular}'
    text = [begin, r'\toprule', heading, r'\midrule', *lines, r'\bottomrule', end, '']
    with atomic_path(files[1]) as partial:
        partial.write_text('\n'.join(text), encoding='utf-8')
    return files


def _plain(cell: str) -> str:
    return '' if cell == NONE else cell.replace(MINUS, '-')


def _latex(cell: str) -> str:
    return ' '.join(cell.split()).translate(str.maketrans(LATEX))
