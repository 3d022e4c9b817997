"""The random state of a process, in its checkpoints."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def rng_state() -> dict[str, Any]:
    """Return the random state, of plain types and tensors, so that it can be read as data."""
    # mmseg's transforms draw from numpy's global generator.
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        'python': random.getstate(),
        'numpy': [name, torch.from_numpy(keys.astype(np.int64)), *rest],
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Set the random state to what `rng_state` returned."""
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, *rest = state['numpy']
    if not 0 <= position <= len(keys):
        # numpy would read beyond its end.
        raise ValueError(f'the position {position} is not in the state')
    keys = keys.cpu().numpy().astype(np.uint32)
    np.random.set_state((name, keys, position, *rest))  # noqa: NPY002
    torch.set_rng_state(state['torch'].cpu())
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())
