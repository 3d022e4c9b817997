"""Writes the report on runs as Markdown and as one HTML file."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from mmseg_kd.checkpoints import write_text
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_folder, relative_to
from mmseg_kd.reports.comparing.collecting import read_collection
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.figures.classes import classes
from mmseg_kd.reports.figures.curves import learning_curves, losses
from mmseg_kd.reports.figures.images import differing_images
from mmseg_kd.reports.figures.search import searches
from mmseg_kd.reports.models import model_sizes
from mmseg_kd.reports.sections import facts, scores, words
from mmseg_kd.reports.writing.document import Block, Picture, Table
from mmseg_kd.reports.writing.html_page import to_html
from mmseg_kd.reports.writing.language import language
from mmseg_kd.reports.writing.markdown import to_markdown
from mmseg_kd.reports.writing.table_files import write_table
from mmseg_kd.visualization.canvas import font_family

PAGES = ('report.md', 'report.html')
# The last line of report.md lists its runs.
MARK = re.compile(r'<!-- report of (\[.*\]) -->\s*\Z')


def write_report(
    folders: Sequence[str | Path],
    out: str | Path,
    lang: str = 'en',
    baseline: str | None = None,
    overwrite: bool = False,
    images: int = 1,
) -> list[Path]:
    """Report on studies and work_dirs.

    Args:
        folders: Folders of studies, and work_dirs.
        out: Folder for `report.md`, `report.html`, `figures/*.png` and `*.pdf`, and
            `tables/*.csv` and `*.tex`. A report of the same runs, or of some of them, is replaced.
        lang: 'en' or 'ko'.
        baseline: Name of the run that others are compared with (default: see `read_collection`).
        overwrite: Whether to replace a report of other runs too.
        images: Validation images of each kind (largest, smallest, median difference) to predict
            and draw, if checkpoints and data exist. With 0 no model is loaded, so that
            parameters, GMACs and times are left out too.

    Returns:
        The written files.

    Raises:
        UserError: Nothing can be read, there is no such baseline or language, or a report of
            other runs would be replaced.
    """
    out = Path(out)
    pages, figures, tables = [out / name for name in PAGES], out / 'figures', out / 'tables'
    if not overwrite and (other := other_report(folders, out)):
        text = 'is a report of other runs; remove it, or name another folder'
        raise UserError(f'{other} {text}')
    collection = read_collection(folders, baseline)
    check_folder(figures, '--out')
    for page in pages:
        if page.is_dir():
            raise UserError(f'--out: {page} is a folder; name another')
    with language(figure_language(lang)):
        blocks = _blocks(collection, figures, images)
    for table in (block for block in blocks if isinstance(block, Table) and block.name):
        write_table(table, tables)
    # Relative to the report, which may be moved together with them.
    names = json.dumps(sorted(relative_to(folder, out) for folder in folders))
    with language(lang):
        texts = f'{to_markdown(blocks)}\n\n<!-- report of {names} -->\n', to_html(blocks, lang)
    for page, text in zip(pages, texts, strict=True):
        write_text(page, text)
    return [*pages, *(block.file for block in blocks if isinstance(block, Picture))]


def figure_language(lang: str) -> str:
    """Return the language of the figures: English where no installed font has Hangul."""
    if lang != 'ko' or len(font_family()) > 1:
        return lang
    print('warning: figures are in English, matplotlib knows no Korean font; see docs/faq.md')
    return 'en'


def _blocks(collection: Collection, figures: Path, count: int) -> list[Block]:
    sizes = model_sizes(collection) if count else {}
    return [
        *words.opening(collection),
        *words.next_steps(collection),
        *scores.comparison(collection, sizes),
        *scores.controls(collection),
        *learning_curves(collection, figures),
        *facts.settings(collection),
        *classes(collection, figures),
        *losses(collection, figures),
        *facts.teachers(collection),
        *searches(collection, figures),
        *differing_images(collection, figures, count),
        *words.remarks(collection),
    ]


def other_report(folders: Sequence[str | Path], out: str | Path) -> Path | None:
    """Return the report in a folder if it is about any other run, else None."""
    file, page = (Path(out) / name for name in PAGES)
    if not file.is_file():
        return page if page.exists() else None
    mark = MARK.search(file.read_text(encoding='utf-8', errors='replace'))
    same = mark and set(json.loads(mark[1])) <= {relative_to(folder, out) for folder in folders}
    return None if same else file
