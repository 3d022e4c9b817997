"""A report as Markdown."""

from __future__ import annotations

import re
from html import escape
from urllib.parse import quote

from mmseg_kd.reports.writing import document as d
from mmseg_kd.reports.writing.language import Translate


def to_markdown(block: d.Block, translate: Translate) -> str:
    """Write a block of a report as GitHub Markdown.

    Args:
        block: The block.
        translate: Translates messages into the report's language.
    """
    match block:
        case d.Heading(text, level):
            return f'{"#" * level} {_escape(translate(text))}'
        case d.Paragraph(text):
            return _escape(translate(text))
        case d.Bullets(items):
            return '\n'.join(f'- {_escape(translate(item))}' for item in items)
        case d.Table():
            return _table(block, translate)
        case d.Picture(file, text):
            caption = _escape(translate(text))
            return f'![{caption}](figures/{quote(file.name)})\n\n{caption}'
        case d.Code(code):
            language = 'bash' if code.startswith('python ') else 'python'
            return f'```{language}\n{code}\n```'
        case d.Fold(summary, blocks):
            inner = '\n\n'.join(to_markdown(inside, translate) for inside in blocks)
            # Inside this tag GitHub reads HTML, not Markdown.
            title = f'<summary>{escape(translate(summary))}</summary>'
            return f'<details>\n{title}\n\n{inner}\n\n</details>'


def _table(table: d.Table, translate: Translate) -> str:
    rows = [[_cell(translate(cell)) for cell in row] for row in (table.headings, *table.rows)]
    if table.strong is not None:
        rows[table.strong + 1] = [f'**{cell}**' for cell in rows[table.strong + 1]]
    rows.insert(1, ['---' if text else '---:' for text in table.text_columns])
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def _cell(text: str) -> str:
    return _escape(text).replace('|', '\\|').replace('\n', '<br>')


def _escape(text: str) -> str:
    """Escape what Markdown reads as markup: links, `*` and `_` at edges, tags, backticks."""
    text = text.replace('&', '&amp;').replace('<', '&lt;')
    text = re.sub(r'[\\\[\]]|(?<!\w)[*_`]|[*_`](?!\w)', r'\\\g<0>', text)
    # GitHub makes links of bare addresses.
    return text.replace('://', ':&#47;/').replace('www.', 'www&#46;')
