"""A report as one HTML file, with its style and figures inside."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from mmseg_kd.reports.writing import document
from mmseg_kd.reports.writing.language import Translate


def to_html(blocks: Sequence[document.Block], translate: Translate, lang: str) -> str:
    """Write blocks as a page.

    Args:
        blocks: The report, which begins with its title.
        translate: Translates messages into the language.
        lang: The language, 'en' or 'ko'.
    """
    title, *rest = blocks
    contents = ''.join(
        f'<a href="#part{i}">{escape(translate(block.text))}</a>'
        for i, block in enumerate(rest)
        if isinstance(block, document.Heading) and block.level == 2
    )
    parts = [_block(block, translate, f' id="part{i}"') for i, block in enumerate(rest)]
    body = '\n'.join([_block(title, translate), f'<nav>{contents}</nav>', *parts])
    style = Path(__file__).with_name('page.css').read_text(encoding='utf-8')
    return (
        f'<!DOCTYPE html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{escape(translate(title.text))}</title>\n<style>\n{style}</style>\n</head>\n'
        f'<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _block(block: document.Block, translate: Translate, anchor: str = '') -> str:
    if isinstance(block, document.Heading):
        return f'<h{block.level}{anchor}>{escape(translate(block.text))}</h{block.level}>'
    if isinstance(block, document.Paragraph):
        kind = ' class="remark"' if block.remark else ''
        return f'<p{kind}>{escape(translate(block.text))}</p>'
    if isinstance(block, document.Bullets):
        items = ''.join(f'<li>{escape(translate(item))}</li>' for item in block.items)
        return f'<ul>{items}</ul>'
    if isinstance(block, document.Table):
        return f'<div class="wide"><table>{"".join(_table(block, translate))}</table></div>'
    if isinstance(block, document.Picture):
        data = base64.b64encode(block.file.read_bytes()).decode('ascii')
        caption = escape(translate(block.caption))
        return (
            f'<figure><div class="wide"><img alt="{caption}" src="data:image/png;base64,{data}">'
            f'</div><figcaption>{caption}</figcaption></figure>'
        )
    if isinstance(block, document.Code):
        return f'<pre><code>{escape(block.text)}</code></pre>'
    if isinstance(block, document.Fold):
        inner = ''.join(_block(b, translate) for b in block.blocks)
        return f'<details><summary>{escape(translate(block.summary))}</summary>{inner}</details>'
    raise TypeError(f'{type(block).__name__} is not a block')


def _table(table: document.Table, translate: Translate) -> Iterator[str]:
    kinds = [' class="text"' if i in table.text_columns else '' for i in range(len(table.headings))]
    yield '<thead><tr>'
    for kind, heading in zip(kinds, table.headings, strict=True):
        yield f'<th scope="col"{kind}>{escape(translate(heading))}</th>'
    yield '</tr></thead><tbody>'
    for i, row in enumerate(table.rows):
        yield '<tr class="strong">' if i in table.strong else '<tr>'
        for j, (kind, cell) in enumerate(zip(kinds, row, strict=True)):
            text = escape(translate(cell))
            yield f'<th scope="row"{kind}>{text}</th>' if j == 0 else f'<td{kind}>{text}</td>'
        yield '</tr>'
    yield '</tbody>'
