"""What is in the figures that a test writes."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure


def keep_figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Keep each figure that `canvas` writes from now on, by the name of its file."""
    figures: dict[str, Figure] = {}
    write = Figure.savefig

    def savefig(figure: Figure, file: Path, **options: object) -> None:
        # The name of a temporary file is `.NAME.DIGITS.tmp.png`.
        figures[file.name.split('.')[1]] = figure
        write(figure, file, **options)

    monkeypatch.setattr(Figure, 'savefig', savefig)
    return figures
