"""Score predictions that were saved as PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from tqdm import tqdm

from mmseg_kd.datasets.checked_files import MaskRule, ids_of, open_image
from mmseg_kd.errors import UserError
from mmseg_kd.evaluation.segmentation_metric import SegmentationMetric


def score_saved(
    dataset: BaseDataset, folder: str | Path, metric: SegmentationMetric
) -> dict[str, float]:
    """Compare a folder of predictions with the labels of a data set; show a progress bar.

    Args:
        dataset: A data set with labels, and the classes in its `metainfo`.
        folder: A folder with a PNG of class ids for each image, `STEM.png`, as written by
            `tools/test.py --out`.
        metric: The metric; its `confusion` is the matrix afterwards.

    Returns:
        The metrics, in percent.

    Raises:
        UserError: A prediction is missing, of another size, unreadable or not of class ids.
    """
    images = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    names = [Path(image).stem for image in images]
    if len(set(names)) < len(names):
        raise UserError(f'{max(names, key=names.count)}: two images have this name; rename one')
    files = [Path(folder, f'{name}.png') for name in names]
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(
            f'{len(missing)} of {len(files)} images have no prediction, the first '
            f'{missing[0]}; save them with tools/test.py --out, and name the same split'
        )
    metric.dataset_meta = dataset.metainfo
    greatest = len(dataset.metainfo['classes']) - 1
    text = f'one channel of the ids 0..{greatest}, as tools/test.py --out writes it'
    rule = MaskRule(greatest, text, modes='L P')
    for index, file in enumerate(tqdm(files, unit='image')):
        label = dataset[index]['data_samples'].gt_sem_seg.data
        with open_image(file) as picture:
            prediction = torch.from_numpy(ids_of(picture, file, rule)).long()
        if prediction.shape != label.shape[1:]:
            size, expected = (f'{x.shape[-1]}x{x.shape[-2]}' for x in (prediction, label))
            raise UserError(f'{file}: is {size}, but the labels are {expected} (width x height)')
        both = dict(pred_sem_seg=dict(data=prediction), gt_sem_seg=dict(data=label))
        metric.process({}, [both | dict(img_path=images[index])])
    return metric.evaluate(len(dataset))


def worst_confusions(matrix: np.ndarray, classes: Sequence[str]) -> list[tuple[str, str, float]]:
    """List the five largest confusions of a true class with another.

    Args:
        matrix: Counts (K, K), row = truth.
        classes: K names.

    Returns:
        True class, predicted class and the share of the true class' pixels, largest first.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind='stable')[:5]
    pairs = zip(*np.unravel_index(order, shares.shape), strict=True)
    return [(classes[i], classes[j], float(shares[i, j])) for i, j in pairs if shares[i, j] > 0]
