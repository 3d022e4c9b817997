"""Writes the report on runs as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_folder
from mmseg_kd.reports.comparing.collecting import read_collection
from mmseg_kd.reports.figures.classes import classes
from mmseg_kd.reports.figures.curves import learning_curves, losses
from mmseg_kd.reports.figures.images import differing_images
from mmseg_kd.reports.figures.search import searches
from mmseg_kd.reports.models import model_sizes
from mmseg_kd.reports.sections import facts, scores, words
from mmseg_kd.reports.writing.document import Block, Picture, Table
from mmseg_kd.reports.writing.html_page import to_html
from mmseg_kd.reports.writing.language import language
from mmseg_kd.reports.writing.table_files import write_table
from mmseg_kd.visualization.canvas import font_family


def write_report(
    folders: Sequence[str | Path],
    out: str | Path,
    lang: str = 'en',
    baseline: str | None = None,
    images: int = 1,
) -> list[Path]:
    """Report on studies and work_dirs.

    Args:
        folders: Folders of studies, and work_dirs.
        out: Folder for `report.html`, `figures/*.png` and `*.pdf`, and
            `tables/*.csv` and `*.tex`. A report that is there is replaced.
        lang: 'en' or 'ko'.
        baseline: Name of the run that others are compared with (default: see `read_collection`).
        images: Validation images of each kind (most improved, most damaged, median) to predict
            and draw, if checkpoints and data exist. With 0 no model is loaded, so that
            parameters, GMACs and times are left out too.

    Returns:
        The written files.

    Raises:
        UserError: Nothing can be read, or there is no such baseline or language.
    """
    out = Path(out)
    page, figures, tables = out / 'report.html', out / 'figures', out / 'tables'
    check_folder(figures, '--out')
    if page.is_dir():
        raise UserError(f'--out: {page} is a folder; name another')
    collection = read_collection(folders, baseline)
    with language(figure_language(lang)):
        sizes = model_sizes(collection) if images else {}
        blocks: list[Block] = [
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
            *differing_images(collection, figures, images),
            *words.remarks(collection),
        ]
    for table in (block for block in blocks if isinstance(block, Table) and block.name):
        write_table(table, tables)
    with language(lang), atomic_path(page) as partial:
        partial.write_text(to_html(blocks, lang), encoding='utf-8')
    return [page, *(block.file for block in blocks if isinstance(block, Picture))]


def figure_language(lang: str) -> str:
    """Return the language of the figures: English where no installed font has Hangul."""
    if lang != 'ko' or len(font_family()) > 1:
        return lang
    print('warning: no Korean font is installed (such as NanumGothic): figures are in English')
    return 'en'
