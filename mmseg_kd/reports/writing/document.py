"""The blocks of a report, independent of the file format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmseg_kd.records.message import Text, message

MOST_OPEN = 12
# Stands for an unknown value.
NONE = '\u2013'


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
        name: Name of its files in the report's folder `tables`; empty for none.
        strong: Index of the highlighted row.
    """

    headings: Sequence[Text]
    rows: Sequence[Sequence[Text]]
    name: str = ''
    strong: int | None = None

    @property
    def text_columns(self) -> list[bool]:
        """Whether each column holds text, as the first does; the others are right-aligned."""
        columns = zip(*self.rows, strict=True)
        return [i == 0 or any(map(_is_text, column)) for i, column in enumerate(columns)]


class Picture(NamedTuple):
    """A figure in a file of the report's folder `figures`.

    Attributes:
        file: The PNG.
        caption: The sentence below it.
        alt: What it shows, for people who cannot see it.
    """

    file: Path
    caption: Text
    alt: Text


class Code(NamedTuple):
    """Code to copy."""

    text: str


class Fold(NamedTuple):
    """Blocks that are hidden until the reader opens them."""

    summary: Text
    blocks: Sequence[Block]


Block = Heading | Paragraph | Bullets | Table | Picture | Code | Fold


def titled(heading: Text, table: Table, level: int = 2) -> list[Block]:
    """Put a heading above a table, and many rows under one line; leave out what is empty."""
    if not table.rows:
        return []
    columns = enumerate(zip(*table.rows, strict=True))
    kept = [i for i, column in columns if any(cell != NONE for cell in column)]
    headings, *rows = ([row[i] for i in kept] for row in (table.headings, *table.rows))
    table = table._replace(headings=headings, rows=rows)
    fold = Fold(message('All {count} rows', count=len(table.rows)), [table])
    return [Heading(heading, level), fold if len(table.rows) > MOST_OPEN else table]


def _is_text(cell: Text) -> bool:
    # Yes and no are as narrow as numbers.
    return len(str(cell)) > 3 and any(map(str.isalpha, str(cell)))
