"""A sentence that can be said in several languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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


def say(template: str, **values: Any) -> Message:
    """Make a message; its template has an entry in `mmseg_kd.reports.writing.korean`."""
    return Message(template, values)
