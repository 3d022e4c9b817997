"""A report as one HTML file, with its style and figures inside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from mmseg_kd.records.message import Text
from mmseg_kd.reports.writing import document as d
from mmseg_kd.reports.writing.language import Translate


def to_html(blocks: Sequence[d.Block], translate: Translate, lang: str) -> str:
    """Write blocks as a page.

    Args:
        blocks: The report, which begins with its title.
        translate: Translates messages into the language.
        lang: The language, 'en' or 'ko'.
    """

    def write(text: Text) -> str:
        return escape(translate(text))

    body, links = [], []
    for i, block in enumerate(blocks):
        body.append(f'<div id="part{i}">{_block(block, write)}</div>')
        if isinstance(block, d.Heading) and block.level == 2:
            links.append(f'<a href="#part{i}">{write(block.text)}</a>')
    body.insert(1, f'<nav>{"".join(links)}</nav>')
    page = Template(Path(__file__).with_name('page.html').read_text(encoding='utf-8'))
    return page.substitute(lang=lang, title=write(blocks[0].text), body='\n'.join(body))


def _block(block: d.Block, write: Translate) -> str:
    match block:
        case d.Heading(text, level):
            return f'<h{level}>{write(text)}</h{level}>'
        case d.Paragraph(text, remark):
            return f'<p{" class=remark" if remark else ""}>{write(text)}</p>'
        case d.Bullets(items):
            return f'<ul>{"".join(f"<li>{write(item)}</li>" for item in items)}</ul>'
        case d.Table():
            return f'<div class="wide"><table>{_table(block, write)}</table></div>'
        case d.Picture(file, text):
            source = f'data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}'
            image = f'<div class="wide"><img alt="{write(text)}" src="{source}"></div>'
            return f'<figure>{image}<figcaption>{write(text)}</figcaption></figure>'
        case d.Code(code):
            return f'<pre><code>{escape(code)}</code></pre>'
        case d.Fold(summary, blocks):
            inner = ''.join(_block(inside, write) for inside in blocks)
            return f'<details><summary>{write(summary)}</summary>{inner}</details>'


def _table(table: d.Table, write: Translate) -> str:
    kinds = [' class="text"' if text else '' for text in table.text_columns]
    headings = zip(kinds, map(write, table.headings), strict=True)
    lines = [''.join(f'<th scope="col"{kind}>{cell}</th>' for kind, cell in headings)]
    lines[0] = f'<thead><tr>{lines[0]}</tr></thead><tbody>'
    for i, row in enumerate(table.rows):
        (_, name), *cells = zip(kinds, map(write, row), strict=True)
        strong = ' class="strong"' if i == table.strong else ''
        lines.append(f'<tr{strong}><th scope="row"{kinds[0]}>{name}</th>')
        lines += [f'<td{kind}>{cell}</td>' for kind, cell in cells]
        lines.append('</tr>')
    return ''.join([*lines, '</tbody>'])
