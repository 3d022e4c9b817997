"""The blocks of a report, independent of the file format."""

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
    """A paragraph; a remark is printed small."""

    text: Text
    remark: bool = False


@dataclass
class Bullets:
    """A list."""

    items: Sequence[Text]


@dataclass
class Table:
    """A table.

    Attributes:
        headings: Headings of the columns.
        rows: The cells of each row.
        strong: Indices of the highlighted rows.
        text_columns: Indices of the columns that hold text; the others are right-aligned.
    """

    headings: Sequence[Text]
    rows: Sequence[Sequence[Text]]
    strong: frozenset[int] = frozenset()
    text_columns: frozenset[int] = frozenset({0})


@dataclass
class Picture:
    """A figure in a file, with its caption."""

    file: Path
    caption: Text


@dataclass
class Code:
    """Code to copy."""

    text: str
    language: str = 'bash'


@dataclass
class Fold:
    """Blocks that are hidden until the reader opens them."""

    summary: Text
    blocks: list[Block] = field(default_factory=list)


Block = Heading | Paragraph | Bullets | Table | Picture | Code | Fold
