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
from mmseg_kd.reports.figures.classes import classes
from mmseg_kd.reports.figures.curves import learning_curves, losses
from mmseg_kd.reports.figures.images import differing_images
from mmseg_kd.reports.figures.search import searches
from mmseg_kd.reports.sections import facts, scores, words
from mmseg_kd.reports.writing.document import Block, Picture
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
        text = 'is a report of other runs; choose another --out, or replace it with --overwrite'
        raise UserError(f'{other} {text}')
    figures = out / 'figures'
    check_folder(figures, '--out')
    for file in (out / name for name in PAGES):
        if file.is_dir():
            raise UserError(f'--out: {file} is a folder; name another')
    collection = read_collection(folders, baseline)
    figures.mkdir(parents=True, exist_ok=True)
    blocks = _blocks(collection, figures, images)
    text = '\n\n'.join(to_markdown(block, translate) for block in blocks)
    names = sorted(_name(folder, out) for folder in folders)
    text += f'\n\n<!-- report of {json.dumps(names)} -->\n'
    for name, page in zip(PAGES, (text, to_html(blocks, translate, lang)), strict=True):
        with atomic_path(out / name) as partial:
            partial.write_text(page, encoding='utf-8')
    pictures = [block.file for block in blocks if isinstance(block, Picture)]
    return [*(out / name for name in PAGES), *pictures]


def _blocks(collection: Collection, figures: Path, count: int) -> list[Block]:
    return [
        *words.opening(collection),
        *scores.comparison(collection),
        *learning_curves(collection, figures),
        *facts.settings(collection),
        *classes(collection, figures),
        *losses(collection, figures),
        *facts.teachers(collection),
        *searches(collection, figures),
        *differing_images(collection, figures, count),
        *scores.evaluations(collection),
        *facts.costs(collection),
        *words.next_steps(collection),
        *words.remarks(collection),
    ]


def other_report(folders: Sequence[str | Path], out: str | Path) -> Path | None:
    """Return the report in a folder if it is about any other run, else None."""
    file, page = (Path(out) / name for name in PAGES)
    if not file.is_file():
        return page if page.exists() else None
    mark = MARK.search(file.read_text(encoding='utf-8', errors='replace'))
    same = mark and set(json.loads(mark[1])) <= {_name(folder, out) for folder in folders}
    return None if same else file


def _name(folder: str | Path, out: str | Path) -> str:
    """Return a folder relative to the report, which may be moved together with it."""
    try:
        return Path(os.path.relpath(folder, out)).as_posix()
    except ValueError:
        # On another drive.
        return Path(folder).resolve().as_posix()
