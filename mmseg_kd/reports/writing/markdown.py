"""A report as Markdown."""

import re
from collections.abc import Sequence
from urllib.parse import quote

from mmseg_kd.records.message import Text
from mmseg_kd.reports.writing import document as d


def to_markdown(blocks: Sequence[d.Block]) -> str:
    """Write blocks as GitHub Markdown, in the current language."""
    return '\n\n'.join(map(_block, blocks))


def _block(block: d.Block) -> str:
    match block:
        case d.Heading(text, level):
            return f'{"#" * level} {_escape(text)}'
        case d.Paragraph(text):
            return _escape(text)
        case d.Bullets(items):
            return '\n'.join(f'- {_escape(item)}' for item in items)
        case d.Table():
            return _table(block)
        case d.Picture(file, caption):
            return f'![{_escape(file.stem)}](figures/{quote(file.name)})\n\n{_escape(caption)}'
        case d.Code(code):
            language = 'bash' if code.startswith('python ') else 'python'
            return f'```{language}\n{code}\n```'


def _table(table: d.Table) -> str:
    rows = [[_cell(cell) for cell in row] for row in (table.headings, *table.rows)]
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
