"""Pictures and tables that hooks make of a training and a test."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from mmseg_kd.engine.hooks.picture_hooks import PaintingHook, _table


@pytest.mark.parametrize('turned', [True, False])
def test_a_photo_is_painted_as_the_model_sees_it(tmp_path: Path, turned: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (12, 8)).save(tmp_path / 'a.jpg', exif=exif)
    shape = (12, 8) if turned else (8, 12)
    sample = SegDataSample(metainfo=dict(img_path=str(tmp_path / 'a.jpg'), ori_shape=shape))
    sample.pred_sem_seg = PixelData(data=torch.zeros(1, *shape, dtype=torch.long))
    SegLocalVisualizer.get_instance('test')
    hook, painted = PaintingHook(draw=True), []
    hook._visualizer = type('Keeps', (), {'add_datasample': lambda *a, **_: painted.append(a[2])})()
    image = torch.full((3, *shape), 7, dtype=torch.uint8)
    hook.after_test_iter(None, 0, dict(inputs=[image]), [sample])
    # An image of another size than the prediction is read from its file.
    hook.after_test_iter(None, 0, dict(inputs=[image[:, :4]]), [sample])
    assert painted[0].shape == (*shape, 3) and np.unique(painted[0]).tolist() == [7]
    assert painted[1].shape == (12, 8, 3)


def test_only_a_known_metric_has_a_best_evaluation() -> None:
    rows = [dict(iter=3, mDice=10.78), dict(iter=6, mDice=12.31)]
    assert 'best' not in _table(rows, None)
    rows = [row | dict(mIoU=60 - row['iter']) for row in rows]
    assert '3 best' in _table(rows, None)
