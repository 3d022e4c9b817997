"""A report as one HTML file, with its style and figures inside."""

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from mmseg_kd.records.message import Text
from mmseg_kd.reports.writing import document as d


def to_html(blocks: Sequence[d.Block], lang: str) -> str:
    """Write blocks, the first of them the title, as a page in the current language."""
    body, links = [], []
    for i, block in enumerate(blocks):
        body.append(f'<div id="part{i}">{_block(block)}</div>')
        if isinstance(block, d.Heading) and block.level == 2:
            links.append(f'<a href="#part{i}">{_write(block.text)}</a>')
    body.insert(1, f'<nav>{"".join(links)}</nav>')
    page = Template(Path(__file__).with_name('page.html').read_text(encoding='utf-8'))
    return page.substitute(lang=lang, title=escape(str(blocks[0].text)), body='\n'.join(body))


def _write(text: Text) -> str:
    """Escape a text; a browser may break it after a dot, `_` or `/` inside a name."""
    return re.sub(r'([._/])(?=[^\W\d])', r'\1<wbr>', escape(str(text)))


def _block(block: d.Block) -> str:
    match block:
        case d.Heading(text, level):
            return f'<h{level}>{_write(text)}</h{level}>'
        case d.Paragraph(text, remark):
            return f'<p{" class=remark" if remark else ""}>{_write(text)}</p>'
        case d.Bullets(items):
            return f'<ul>{"".join(f"<li>{_write(item)}</li>" for item in items)}</ul>'
        case d.Table():
            return _table(block)
        case d.Picture(file, caption):
            source = f'data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}'
            image = f'<div class="wide"><img alt="{escape(file.stem)}" src="{source}"></div>'
            return f'<figure>{image}<figcaption>{_write(caption)}</figcaption></figure>'
        case d.Code(code):
            return f'<pre><code>{escape(code)}</code></pre>'


def _table(table: d.Table) -> str:
    kinds = [' class="text"' if text else '' for text in table.text_columns]
    headings = zip(kinds, map(_write, table.headings), strict=True)
    lines = [''.join(f'<th scope="col"{kind}>{cell}</th>' for kind, cell in headings)]
    lines[0] = f'<div class="wide"><table><thead><tr>{lines[0]}</tr></thead><tbody>'
    for row in table.rows:
        (_, name), *cells = zip(kinds, map(_write, row), strict=True)
        lines.append(f'<tr><th scope="row"{kinds[0]}>{name}</th>')
        lines += [f'<td{kind}>{cell}</td>' for kind, cell in cells]
        lines.append('</tr>')
    return ''.join([*lines, '</tbody></table></div>'])
