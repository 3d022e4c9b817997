"""The blocks of a report, independent of the file format."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmseg_kd.records.message import NONE, Text


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
    """

    headings: Sequence[Text]
    rows: Sequence[Sequence[Text]]
    name: str = ''

    @property
    def text_columns(self) -> list[bool]:
        """Whether each column holds text, as the first does; the others are right-aligned."""
        columns = zip(*self.rows, strict=True)
        return [i == 0 or any(map(_is_text, column)) for i, column in enumerate(columns)]


class Picture(NamedTuple):
    """A figure in a file of the report's folder `figures`.

    Attributes:
        file: The PNG, whose name says what it shows.
        caption: The sentence below it.
    """

    file: Path
    caption: Text


class Code(NamedTuple):
    """Code to copy."""

    text: str


Block = Heading | Paragraph | Bullets | Table | Picture | Code


def titled(heading: Text, table: Table, level: int = 2) -> list[Block]:
    """Put a heading above a table without its empty columns; leave out an empty table."""
    if not table.rows:
        return []
    columns = enumerate(zip(*table.rows, strict=True))
    kept = [i for i, column in columns if any(cell != NONE for cell in column)]
    headings, *rows = ([row[i] for i in kept] for row in (table.headings, *table.rows))
    return [Heading(heading, level), table._replace(headings=headings, rows=rows)]


def _is_text(cell: Text) -> bool:
    # Short words are as narrow as numbers.
    return len(str(cell)) > 3 and any(map(str.isalpha, str(cell)))
