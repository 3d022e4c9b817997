"""Values of `--cfg-options`, from the text of the command line."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

CLOSING = {'[': ']', '(': ')'}
# Text in quotes, or any other character.
TOKEN = re.compile(r'"[^"]*"|\'[^\']*\'|.', re.DOTALL)
# An item of a list without brackets: a number or a name, which a path or a sentence is not.
PLAIN_ITEM = re.compile(r'[\w.+-]+|[\[(].*[\])]')


def read_value(text: str) -> Any:
    """Read the value of `KEY=VALUE`.

    A value in brackets is a list, one in parentheses a tuple, nested as one likes; its items are
    separated by commas. Without brackets `a,b` is a list only where every item is a number or a
    name, as in `0.9,0.999` and `stage3,stage4`: a comma in a path or a sentence belongs to it.
    Numbers, True, False and None are what they look like, everything else is text and keeps its
    spaces. Quotes around a value or an item keep its commas and brackets.

    Raises:
        ValueError: A bracket is not closed, or closes another one.
    """
    text = text.strip()
    quoted = len(text) > 1 and text[0] in '\'"' and text.find(text[0], 1) == len(text) - 1
    text = text[1:-1] if quoted else text
    bracket = text[:1] in tuple(CLOSING)
    parts, whole = _split(text) if bracket or (not quoted and ',' in text) else ([text], False)
    if bracket and whole:
        values = [read_value(item) for item in _split(text[1:-1])[0]]
        return tuple(values) if text[0] == '(' else values
    if not quoted and parts != [text] and all(PLAIN_ITEM.fullmatch(p.strip()) for p in parts):
        return [read_value(part) for part in parts]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return None if text == 'None' else {'true': True, 'false': False}.get(text.lower(), text)


def _split(text: str) -> tuple[list[str], bool]:
    """Split at the commas outside brackets and quotes; an empty text has no parts.

    The second is whether the first bracket closes at the end of the text.
    """
    parts, closing, ends = [''], [], []
    for match in TOKEN.finditer(text):
        token = match[0]
        if token in CLOSING:
            closing.append(CLOSING[token])
        elif closing and token in CLOSING.values():
            if token != closing.pop():
                raise ValueError(f'{token!r} closes another bracket')
            ends += [] if closing else [match.end()]
        if token == ',' and not closing:
            parts.append('')
        else:
            parts[-1] += token
    if closing:
        raise ValueError(f'a {closing[-1]!r} is missing')
    return parts if parts[-1].strip() else parts[:-1], ends[:1] == [len(text)]
