"""Sentences that are translated when they are written."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

# Translations by English sentence; `mmseg_kd/reports/writing/language.py` sets them.
CATALOGUE: ContextVar[Mapping[str, str] | None] = ContextVar('catalogue', default=None)
MINUS = '\u2212'
# Stands for an unknown value.
NONE = '\u2013'


@dataclass(frozen=True)
class Message:
    """An English sentence and the facts in it; `str` writes it in the current language.

    A message without a translation is written in English.

    Attributes:
        template: The English sentence, with `{names}` as in `str.format`.
        values: The facts by name; may be messages themselves.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return (CATALOGUE.get() or {}).get(self.template, self.template).format(**self.values)


Text = str | Message


def message(template: str, **values: Any) -> Message:
    """Make a message; its Korean is in `mmseg_kd/reports/writing/ko.json`."""
    return Message(template, values)


def messages(*templates: str) -> list[Message]:
    """Make messages without values, such as the headings of a table."""
    return [Message(template) for template in templates]


def number(value: float | None, form: str = '.2f') -> str:
    """Format a number with a true minus sign; None and NaN become a dash."""
    text = NONE if value is None or value != value else format(value, form)
    return text.replace('-', MINUS) if form.endswith('f') else text
