"""mmseg's visualizer of predictions, made faster."""

from __future__ import annotations

import numpy as np
from mmseg.registry import VISUALIZERS
from mmseg.visualization import SegLocalVisualizer


@VISUALIZERS.register_module()
class QuickSegVisualizer(SegLocalVisualizer):
    """mmseg's SegLocalVisualizer with a faster search for the places of class names.

    The images are the same.
    """

    def _get_center_loc(self, mask: np.ndarray) -> np.ndarray:
        # mmseg sorts the coordinates of all pixels as a Python list.
        y = mask.sum(axis=1).argmax()
        (xs,) = np.nonzero(mask[y])
        return np.array([xs[len(xs) // 2], y])
