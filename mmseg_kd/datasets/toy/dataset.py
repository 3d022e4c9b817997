"""A generated stand-in for CamVid: try a config in minutes, without a download."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from mmseg_kd.datasets.camvid.classes import CamVidClasses
from mmseg_kd.datasets.toy.scenes import SPLITS, draw_scene
from mmseg_kd.errors import UserError


@DATASETS.register_module()
class ToyCamVidDataset(CamVidClasses, BaseSegDataset):
    """Drawn street scenes with CamVid's classes; no file is read or written.

    Its pipeline begins with `LoadToyScene` instead of the steps that load files.

    Args:
        split: `train`, `val` or `test`; each has its own scenes.
        num_images: Number of scenes.
        size: Width and height in pixels.
        seed: Seed of all scenes.
        **kwargs: The other arguments of `BaseSegDataset`.
    """

    def __init__(
        self,
        split: str = 'train',
        num_images: int = 96,
        size: Sequence[int] = (160, 120),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise UserError(f'dataset.split: {split!r} is not one of {", ".join(SPLITS)}')
        if len(size) != 2 or min(size) < 32:
            raise UserError(f'dataset.size: {size} is not (width, height) of at least 32 pixels')
        if num_images < 1:
            raise UserError(f'dataset.num_images: {num_images} is too few; write 1 or more')
        self.split, self.num_images, self.size, self.seed = split, num_images, tuple(size), seed
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """List the seeds of the scenes."""
        return [
            dict(
                img_path=f'toy/{self.split}/{index:04d}.png',
                scene=(self.seed, self.split, index, *self.size),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for index in range(self.num_images)
        ]


@TRANSFORMS.register_module()
class LoadToyScene(BaseTransform):
    """Draw a scene of a `ToyCamVidDataset`: both image and labels."""

    def transform(self, results: dict) -> dict:
        """Add `img` (H, W, 3) and `gt_seg_map` (H, W)."""
        image, labels = draw_scene(*results['scene'])
        results['img'] = image.copy()
        results['img_shape'] = results['ori_shape'] = labels.shape
        new_ids = np.arange(256, dtype=np.uint8)
        for old, new in (results['label_map'] or {}).items():
            new_ids[old] = new
        # With reduce_zero_label, 0 wraps around to 255.
        results['gt_seg_map'] = new_ids[labels - np.uint8(results['reduce_zero_label'])]
        results['seg_fields'].append('gt_seg_map')
        return results
