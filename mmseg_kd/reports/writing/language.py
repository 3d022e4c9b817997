"""The languages of a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mmseg_kd.errors import UserError
from mmseg_kd.records.message import Message, Text

LANGUAGES = ('en', 'ko')

Translate = Callable[[Text], str]


def translator(lang: str) -> Translate:
    """Return a function that writes messages in a language; other text stays as it is.

    A message without a translation is written in English.

    Raises:
        UserError: There is no such language.
    """
    if lang not in LANGUAGES:
        raise UserError(f'--lang {lang}: choose from {", ".join(LANGUAGES)}')
    korean = json.loads(Path(__file__).with_name('ko.json').read_text(encoding='utf-8'))
    catalogue = korean if lang == 'ko' else {}

    def translate(text: Text) -> str:
        if not isinstance(text, Message):
            return str(text)
        values = {name: translate(value) for name, value in text.values.items()}
        return catalogue.get(text.template, text.template).format(**values)

    return translate
