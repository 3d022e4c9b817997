"""A report as Markdown."""

from __future__ import annotations

import re
from html import escape
from urllib.parse import quote

from mmseg_kd.records.message import Text
from mmseg_kd.reports.writing import document as d


def to_markdown(block: d.Block) -> str:
    """Write a block of a report as GitHub Markdown, in the language of the moment."""
    match block:
        case d.Heading(text, level):
            return f'{"#" * level} {_escape(text)}'
        case d.Paragraph(text):
            return _escape(text)
        case d.Bullets(items):
            return '\n'.join(f'- {_escape(item)}' for item in items)
        case d.Table():
            return _table(block)
        case d.Picture(file, caption, alt):
            return f'![{_escape(alt)}](figures/{quote(file.name)})\n\n{_escape(caption)}'
        case d.Code(code):
            language = 'bash' if code.startswith('python ') else 'python'
            return f'```{language}\n{code}\n```'
        case d.Fold(summary, blocks):
            inner = '\n\n'.join(to_markdown(inside) for inside in blocks)
            # Inside this tag GitHub reads HTML, not Markdown.
            title = f'<summary>{escape(str(summary))}</summary>'
            return f'<details>\n{title}\n\n{inner}\n\n</details>'


def _table(table: d.Table) -> str:
    rows = [[_cell(cell) for cell in row] for row in (table.headings, *table.rows)]
    if table.strong is not None:
        rows[table.strong + 1] = [f'**{cell}**' for cell in rows[table.strong + 1]]
    rows.insert(1, ['---' if text else '---:' for text in table.text_columns])
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def _cell(text: Text) -> str:
    return _escape(text).replace('|', '\\|').replace('\n', '<br>')


def _escape(text: Text) -> str:
    """Escape what Markdown reads as markup: links, `*` and `_` at edges, tags, backticks."""
    text = str(text).replace('&', '&amp;').replace('<', '&lt;')
    text = re.sub(r'[\\\[\]]|(?<!\w)[*_`]|[*_`](?!\w)', r'\\\g<0>', text)
    # GitHub makes links of bare addresses.
    return text.replace('://', ':&#47;/').replace('www.', 'www&#46;')
