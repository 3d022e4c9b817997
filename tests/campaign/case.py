"""What one bad input is, and small ways to make files bad. All run in the case's own folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Step = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One wrong command.

    Attributes:
        name: What is wrong.
        command: The tool and its arguments, as typed in the folder of `test_campaign.world`.
        says: The key, option or file that the error has to name.
        steps: What is done to the folder before.
    """

    name: str
    command: str
    says: str
    steps: Sequence[Step] = ()


def write(path: str, content: str | bytes) -> Step:
    """Write a file in the place of what is there."""

    def step() -> None:
        remove(path)()
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    return step


def mine(text: str, base: str = 'config.py') -> Step:
    """Write `mine.py`, a user's config above one that works."""
    return write('mine.py', f"_base_ = './{base}'\n{text}\n")


def remove(path: str) -> Step:
    """Remove a file or a folder."""

    def step() -> None:
        file = Path(path)
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)

    return step


def folder(path: str) -> Step:
    """Put an empty folder in the place of what is there."""

    def step() -> None:
        remove(path)()
        Path(path).mkdir(parents=True)

    return step


def move(source: str, target: str) -> Step:
    """Rename a file or folder."""
    return lambda: Path(source).rename(target)


def copy(source: str, target: str) -> Step:
    """Copy a file."""
    return lambda: shutil.copyfile(source, target)


def cut(path: str, share: float = 0.5) -> Step:
    """Keep the beginning of a file, as a broken download or a full disk leaves it."""

    def step() -> None:
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: int(len(content) * share)])

    return step


def replace(path: str, old: str, new: str) -> Step:
    """Replace text in a file that has it."""

    def step() -> None:
        text = Path(path).read_text(encoding='utf-8')
        assert old in text
        Path(path).write_text(text.replace(old, new), encoding='utf-8')

    return step


def bend(path: str, change: Callable[[dict], Any]) -> Step:
    """Change a checkpoint; what `change` returns, if anything, takes its place."""

    def step() -> None:
        content = torch.load(path, weights_only=False)
        changed = change(content)
        torch.save(content if changed is None else changed, path)

    return step


def weight(content: dict) -> tuple[dict, str]:
    """The weights of a checkpoint, and the name of one of them."""
    return content['state_dict'], 'decode_head.linear_pred.weight'
