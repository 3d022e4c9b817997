"""Sentences that can be said in English and in Korean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.reports.korean import KOREAN

LANGUAGES = ('en', 'ko')


@dataclass(frozen=True)
class Message:
    """A sentence whose numbers and names are filled in once its language is known.

    Attributes:
        template: The English sentence, with `{names}` as `str.format` has them.
        values: What stands there; may be messages themselves.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format(**self.values)


Text = str | Message
Translate = Callable[[Text], str]


def say(template: str, **values: Any) -> Message:
    """Make a message; its template has an entry in `korean.KOREAN`."""
    return Message(template, values)


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
