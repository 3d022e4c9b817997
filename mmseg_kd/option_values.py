"""Values of `--cfg-options`, from the text of the command line."""

from __future__ import annotations

import re
from typing import Any

CLOSING = {'[': ']', '(': ')'}
QUOTES = '\'"'
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
        ValueError: A bracket or a quote is not closed, or closes nothing.
    """
    text = text.strip()
    if quoted := _is_quoted(text):
        text = text[1:-1]
    if text[:1] in CLOSING and text[:1]:
        items = _split(text[1:-1]) if _end(text) == len(text) - 1 else None
        if items is not None:
            values = [read_value(item) for item in items]
            return tuple(values) if text[0] == '(' else values
    if not quoted and ',' in text:
        items = _split(text)
        if all(PLAIN_ITEM.fullmatch(item.strip()) for item in items):
            return [read_value(item) for item in items]
    return _scalar(text)


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] in QUOTES and text.find(text[0], 1) == len(text) - 1


def _end(text: str) -> int:
    """Return the position of the bracket that closes the first one."""
    open_ones: list[str] = []
    for place, character in _outside_quotes(text):
        if character in CLOSING:
            open_ones.append(CLOSING[character])
        elif character in CLOSING.values():
            if character != open_ones.pop():
                raise ValueError(f'{character!r} closes another bracket')
            if not open_ones:
                return place
    raise ValueError(f'a {open_ones[-1]!r} is missing')


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes; an empty text has no parts."""
    parts, begin, place = [], 0, 0
    while place < len(text):
        character = text[place]
        if character in CLOSING:
            place += _end(text[place:])
        elif character in QUOTES and (close := text.find(character, place + 1)) > 0:
            place = close
        elif character == ',':
            parts.append(text[begin:place])
            begin = place + 1
        place += 1
    last = text[begin:]
    return [*parts, last] if last.strip() else parts


def _outside_quotes(text: str) -> list[tuple[int, str]]:
    blank = re.sub(r'\'[^\']*\'|"[^"]*"', lambda match: ' ' * len(match[0]), text)
    return list(enumerate(blank))


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    named = {'true': True, 'false': False}
    return None if text == 'None' else named.get(text.lower(), text)
