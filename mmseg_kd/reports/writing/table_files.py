"""The tables of a report as CSV and LaTeX, for papers and slides."""

from pathlib import Path

from mmseg_kd.checkpoints import write_csv, write_text
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
    write_csv(files[0], [[_plain(cell) for cell in row] for row in rows])
    heading, *lines = (' & '.join(map(_latex, row)) + r' \\' for row in rows)
    columns = ''.join('l' if text else 'r' for text in table.text_columns)
    begin, end = rf'\begin{{tabular}}{{{columns}}}', r'\end{tabular}'
    text = [begin, r'\toprule', heading, r'\midrule', *lines, r'\bottomrule', end, '']
    write_text(files[1], '\n'.join(text))
    return files


def _plain(cell: str) -> str:
    return '' if cell == NONE else cell.replace(MINUS, '-')


def _latex(cell: str) -> str:
    return ' '.join(cell.split()).translate(str.maketrans(LATEX))
