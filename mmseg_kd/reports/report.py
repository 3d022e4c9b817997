"""Writes the report on runs as Markdown and as one HTML file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_folder
from mmseg_kd.reports.comparing.collecting import read_collection
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.figures.pictures import Gallery
from mmseg_kd.reports.sections import order as sections
from mmseg_kd.reports.sections.search_section import search_section
from mmseg_kd.reports.writing.document import Block
from mmseg_kd.reports.writing.html_page import to_html
from mmseg_kd.reports.writing.language import translator
from mmseg_kd.reports.writing.markdown import to_markdown

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
    """Report on studies, work_dirs and tables of outside runs.

    Args:
        folders: Folders of studies, work_dirs, and CSV or Markdown files.
        out: Folder for `report.md`, `report.html` and `figures/*.png`. A report of the same runs,
            or of some of them, is replaced.
        lang: 'en' or 'ko'.
        baseline: Name of the run that others are compared with (default: see `read_collection`).
        overwrite: Whether to replace a report of other runs too.
        images: Validation images of each kind (most improved, most damaged, median) to predict
            and draw, if checkpoints and data exist; 0 for none.

    Returns:
        The written files.

    Raises:
        UserError: Nothing can be read, there is no such baseline or language, or a report of
            other runs would be replaced.
    """
    out = Path(out)
    translate = translator(lang)
    if not overwrite and (other := other_report(folders, out)):
        raise UserError(
            f'{other} is a report of other runs; choose another --out, or replace it with '
            '--overwrite'
        )
    check_folder(out / 'figures', '--out')
    for name in PAGES:
        if (out / name).is_dir():
            raise UserError(f'--out: {out / name} is a folder; choose another --out')
    collection = read_collection(folders, baseline)
    blocks, pictures = _compose(collection, out / 'figures', images)
    text = to_markdown(blocks, translate, out)
    text += f'\n<!-- report of {json.dumps(_names(folders, out))} -->\n'
    pages = dict(zip(PAGES, (text, to_html(blocks, translate, lang)), strict=True))
    for name, page in pages.items():
        with atomic_path(out / name) as partial:
            partial.write_text(page, encoding='utf-8')
    return [*(out / name for name in pages), *pictures]


def other_report(folders: Sequence[str | Path], out: str | Path) -> Path | None:
    """Return the report in a folder if it is about any other run, else None."""
    file = Path(out) / 'report.md'
    if file.is_file():
        mark = MARK.search(file.read_text(encoding='utf-8', errors='replace'))
        known = set(json.loads(mark[1])) if mark else None
        return None if known is not None and known <= set(_names(folders, out)) else file
    page = Path(out) / 'report.html'
    return page if page.exists() else None


def _names(folders: Sequence[str | Path], out: str | Path) -> list[str]:
    """Return the folders relative to the report, which may be moved together with them."""
    names = []
    for folder in folders:
        absolute = Path(folder).resolve()
        try:
            names.append(Path(os.path.relpath(absolute, Path(out).resolve())).as_posix())
        except ValueError:
            # On another drive.
            names.append(absolute.as_posix())
    return sorted(names)


def _compose(collection: Collection, figures: Path, images: int) -> tuple[list[Block], list[Path]]:
    figures.mkdir(parents=True, exist_ok=True)
    gallery = Gallery(collection, figures)
    blocks = [
        *sections.opening(collection),
        *sections.comparison(collection),
        *gallery.curves(),
        *sections.settings(collection),
        *gallery.classes(),
        *gallery.losses(),
        *sections.teachers(collection),
        *search_section(collection, figures),
        *gallery.images(images),
        *sections.evaluations(collection),
        *sections.costs(collection),
        *sections.next_steps(collection),
        *sections.remarks(collection.notes),
    ]
    return blocks, [block.file for block in blocks if hasattr(block, 'file')]
