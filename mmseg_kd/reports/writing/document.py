"""The blocks of a report, independent of the file format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmseg_kd.records.message import Text, message

MOST_OPEN = 12


class Heading(NamedTuple):
    """A heading of level 1 to 3."""

    text: Text
    level: int = 2


class Paragraph(NamedTuple):
    """A paragraph; a remark is printed small."""

    text: Text
    remark: bool = False


class Bullets(NamedTuple):
    """A list."""

    items: Sequence[Text]


class Table(NamedTuple):
    """A table.

    Attributes:
        headings: Headings of the columns.
        rows: The cells of each row.
        strong: Index of the highlighted row.
    """

    headings: Sequence[Text]
    rows: Sequence[Sequence[Text]]
    strong: int | None = None

    @property
    def text_columns(self) -> list[bool]:
        """Whether each column holds text, as the first does; the others are right-aligned."""
        columns = zip(*self.rows, strict=True)
        return [i == 0 or any(map(_is_text, column)) for i, column in enumerate(columns)]


class Picture(NamedTuple):
    """A figure in a file of the report's folder `figures`, with its caption."""

    file: Path
    caption: Text


class Code(NamedTuple):
    """Code to copy."""

    text: str


class Fold(NamedTuple):
    """Blocks that are hidden until the reader opens them."""

    summary: Text
    blocks: Sequence[Block]


Block = Heading | Paragraph | Bullets | Table | Picture | Code | Fold


def titled(heading: Text, table: Table, level: int = 2) -> list[Block]:
    """Put a heading above a table, nothing above an empty one, and many rows under one line."""
    if not table.rows:
        return []
    fold = Fold(message('All {count} rows', count=len(table.rows)), [table])
    return [Heading(heading, level), fold if len(table.rows) > MOST_OPEN else table]


def _is_text(cell: Text) -> bool:
    # Yes and no are as narrow as numbers.
    return len(str(cell)) > 3 and any(map(str.isalpha, str(cell)))
