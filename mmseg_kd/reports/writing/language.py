"""Sentences that can be said in English and in Korean."""

from __future__ import annotations

from collections.abc import Callable

from mmseg_kd.errors import UserError
from mmseg_kd.records.message import Message, Text
from mmseg_kd.reports.writing.korean import KOREAN

LANGUAGES = ('en', 'ko')


Translate = Callable[[Text], str]


def translator(lang: str) -> Translate:
    """Find the function that puts messages into a language; other text stays as it is.

    Raises:
        UserError: There is no such language.
    """
    if lang not in LANGUAGES:
        raise UserError(f'--lang {lang}: choose from {", ".join(LANGUAGES)}')

    def translate(text: Text) -> str:
        if not isinstance(text, Message):
            return str(text)
        template = KOREAN[text.template] if lang == 'ko' else text.template
        values = {
            name: translate(value) if isinstance(value, Message) else value
            for name, value in text.values.items()
        }
        return template.format(**values)

    return translate
