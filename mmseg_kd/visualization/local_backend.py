"""Pictures in the work_dir, also where its path is not ASCII."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.visualization import LocalVisBackend
from mmengine.visualization.vis_backend import force_init_env
from mmseg.registry import VISBACKENDS


@VISBACKENDS.register_module(name='LocalVisBackend')
class LocalBackend(LocalVisBackend):
    """mmengine's LocalVisBackend, which on Windows loses pictures in folders with Hangul."""

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Write an RGB image (H, W, 3) as `NAME_STEP.png`."""
        # OpenCV writes to no such path; mmcv encodes with OpenCV and leaves the file to Python.
        file = Path(self._img_save_dir) / f'{name}_{step}.png'
        mmcv.imwrite(mmcv.rgb2bgr(image), str(file))
