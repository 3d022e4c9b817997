"""Sentences that are translated when they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Message:
    """An English sentence and the facts in it; the report's language is chosen later.

    Attributes:
        template: The English sentence, with `{names}` as in `str.format`.
        values: The facts by name; may be messages themselves.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format(**self.values)


Text = str | Message


def message(template: str, **values: Any) -> Message:
    """Make a message; its Korean is in `mmseg_kd/reports/writing/ko.json`."""
    return Message(template, values)


def messages(*templates: str) -> list[Message]:
    """Make messages without values, such as the headings of a table."""
    return [Message(template) for template in templates]
