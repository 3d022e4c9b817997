"""Files with a pickle of one's own, and how reading them is refused."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.errors import UserError


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f'{path}: ')
    assert '\n' not in message and message.isprintable()
    assert 'weights_only=False' not in message
    return message


def zip_pickle(path: Path, pickled: bytes) -> Path:
    """A torch.save file whose pickle is the given one."""
    whole = io.BytesIO()
    torch.save({}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, 'w') as target:
        for name in source.namelist():
            data = pickled if name.endswith('/data.pkl') else source.read(name)
            target.writestr(name, data)
    return path


class Calls:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def touch(footprint):
    return f'{sys.executable} -c "open({str(footprint)!r}, \'w\')"'
