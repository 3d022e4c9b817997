"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from mmseg_kd.reports.writing import document
from mmseg_kd.reports.writing.language import Translate


def to_markdown(blocks: Sequence[document.Block], translate: Translate, folder: Path) -> str:
    """Write blocks as GitHub Markdown.

    Args:
        blocks: The report.
        translate: Translates messages into the report's language.
        folder: The folder of the file; links to figures are relative to it.
    """
    return '\n\n'.join(_block(block, translate, folder) for block in blocks) + '\n'


def _block(block: document.Block, translate: Translate, folder: Path) -> str:
    if isinstance(block, document.Heading):
        return f'{"#" * block.level} {_escape(translate(block.text))}'
    if isinstance(block, document.Paragraph):
        return _escape(translate(block.text))
    if isinstance(block, document.Bullets):
        return '\n'.join(f'- {_escape(translate(item))}' for item in block.items)
    if isinstance(block, document.Table):
        return '\n'.join(_table(block, translate))
    if isinstance(block, document.Picture):
        link = quote(block.file.relative_to(folder).as_posix())
        caption = _escape(translate(block.caption))
        return f'![{caption}]({link})\n\n{caption}'
    if isinstance(block, document.Code):
        # The fence must be longer than any inside.
        fence = '`' * max(3, 1 + max(map(len, re.findall('`+', block.text)), default=0))
        return f'{fence}{block.language}\n{block.text}\n{fence}'
    if isinstance(block, document.Fold):
        inner = '\n\n'.join(_block(b, translate, folder) for b in block.blocks)
        # Inside this tag GitHub reads HTML, not Markdown.
        summary = escape(translate(block.summary))
        return f'<details>\n<summary>{summary}</summary>\n\n{inner}\n\n</details>'
    raise TypeError(f'{type(block).__name__} is not a block')


def _table(table: document.Table, translate: Translate) -> Iterator[str]:
    yield _row(_cell(translate(heading)) for heading in table.headings)
    yield _row('---' if i in table.text_columns else '---:' for i in range(len(table.headings)))
    for i, row in enumerate(table.rows):
        cells = (_cell(translate(cell)) for cell in row)
        yield _row(f'**{cell}**' if i in table.strong and cell else cell for cell in cells)


def _row(cells: Iterator[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _cell(text: str) -> str:
    return _escape(text).replace('|', '\\|').replace('\n', '<br>')


def _escape(text: str) -> str:
    """Escape what Markdown reads as markup: links, `*` and `_` at edges, tags, backticks."""
    text = text.replace('&', '&amp;').replace('<', '&lt;')
    text = re.sub(r'[\\\[\]]|(?<!\w)[*_`]|[*_`](?!\w)', r'\\\g<0>', text)
    # GitHub makes links of bare addresses.
    return text.replace('://', ':&#47;/').replace('www.', 'www&#46;')
