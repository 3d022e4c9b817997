"""What a report is made of, whatever it is written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmseg_kd.records.message import Text


@dataclass
class Heading:
    """A heading of level 1 to 3."""

    text: Text
    level: int = 2


@dataclass
class Paragraph:
    """A paragraph; a remark is small print."""

    text: Text
    remark: bool = False


@dataclass
class Bullets:
    """A list."""

    items: Sequence[Text]


@dataclass
class Table:
    """A table whose first column is text; cells of the others are centred on their numbers.

    Attributes:
        headings: Of the columns.
        rows: As many cells each.
        strong: Numbers of the rows that stand out.
        text_columns: Numbers of the columns that hold text.
    """

    headings: Sequence[Text]
    rows: Sequence[Sequence[Text]]
    strong: frozenset[int] = frozenset()
    text_columns: frozenset[int] = frozenset({0})


@dataclass
class Picture:
    """A picture in a file, with what it shows in words."""

    file: Path
    caption: Text


@dataclass
class Code:
    """Lines to copy."""

    text: str
    language: str = 'bash'


@dataclass
class Fold:
    """What most readers skip, under one line."""

    summary: Text
    blocks: list[Block] = field(default_factory=list)


Block = Heading | Paragraph | Bullets | Table | Picture | Code | Fold
