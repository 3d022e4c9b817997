"""Pictures equal mmseg's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from mmseg_kd.datasets import CamVidDataset
from mmseg_kd.visualization.visualizer import QuickSegVisualizer


@pytest.mark.parametrize('seed', range(3))
def test_the_picture_is_mmsegs(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Blocks, so that rows tie, single pixels, and a class that is nowhere.
    blocks = torch.from_numpy(rng.integers(0, 11, (6, 8))).repeat_interleave(10, 0)
    labels = blocks.repeat_interleave(10, 1)[None]
    prediction = labels.clone()
    prediction[0, rng.integers(0, 60, 40), rng.integers(0, 80, 40)] = 3
    labels[0, :5] = 255
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=labels), pred_sem_seg=PixelData(data=prediction)
    )
    files = []
    for kind in (SegLocalVisualizer, QuickSegVisualizer):
        visualizer = kind(name=f'{kind.__name__}{seed}')
        visualizer.dataset_meta = dict(CamVidDataset.METAINFO)
        files.append(tmp_path / f'{kind.__name__}.png')
        visualizer.add_datasample('x', image, sample, out_file=str(files[-1]))
    assert files[0].read_bytes() == files[1].read_bytes()
