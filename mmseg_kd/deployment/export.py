"""Export a trained segmentor to ONNX and compare the file with the model."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.deployment.predictor import batch_of, open_session
from mmseg_kd.deployment.segmentor import TrainedSegmentor
from mmseg_kd.errors import UserError, one_line

# Height and width of the image that the exporter follows; any other runs too.
EXAMPLE = (128, 160)


class Exported(nn.Module):
    """Map RGB images (N, 3, H, W), float32 from 0 to 255, to logits (N, K, H, W).

    Args:
        segmentor: In evaluation mode.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.segmentor = segmentor
        matrix, bias = normalisation(segmentor.data_preprocessor)
        self.register_buffer('matrix', matrix[:, :, None, None])
        self.register_buffer('bias', bias)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise and segment images; see the class."""
        logits = self.segmentor(F.conv2d(images.to(self.matrix.dtype), self.matrix, self.bias))
        align = self.segmentor.align_corners
        logits = F.interpolate(logits, size=images.shape[2:], mode='bilinear', align_corners=align)
        if logits.shape[1] == 1:
            # The only class is present above a threshold, so the other one has its logit.
            threshold = self.segmentor.decode_head.threshold
            other = torch.full_like(logits, math.log(threshold / (1 - threshold)))
            logits = torch.cat([other, logits], dim=1)
        return logits.float()


@torch.no_grad()
def normalisation(preprocessor: nn.Module) -> tuple[Tensor, Tensor]:
    """Measure what a data preprocessor does to an RGB pixel: `matrix @ rgb + bias`.

    Returns:
        The matrix (3, 3) and the bias (3,), from images of single colours.
    """
    pixels = []
    for rgb in torch.cat([torch.zeros(1, 3), 255 * torch.eye(3)]):
        # Images come in OpenCV's order, BGR.
        image = rgb.flip(0)[:, None, None].expand(3, 64, 64).byte()
        # Preprocessors that pad write the padding into a sample.
        batch = dict(inputs=[image], data_samples=[SegDataSample()])
        pixels.append(preprocessor(batch)['inputs'][0, :, 0, 0].cpu())
    black, *colours = pixels
    return (torch.stack(colours, dim=1) - black[:, None]) / 255, black


def export_onnx(trained: TrainedSegmentor, file: Path, fp16: bool = False) -> Exported:
    """Write a segmentor as an ONNX file for any batch, height and width.

    Args:
        trained: The segmentor.
        file: Where to write; its metadata holds the classes and their colours.
        fp16: Whether it computes in float16.

    Returns:
        The module that was exported, in float32.

    Raises:
        UserError: The packages are not installed, or torch cannot export the model.
    """
    module = Exported(trained.model).eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                copy.deepcopy(module).half() if fp16 else module,
                (torch.zeros(2, 3, *EXAMPLE),),
                dynamo=True,
                verbose=False,
                input_names=['images'],
                output_names=['logits'],
                dynamic_shapes=(dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),),
            )
    except ImportError as error:
        raise UserError('exporting needs more packages: pip install -e ".[export]"') from error
    except Exception as error:
        raise UserError(
            f'torch cannot export {type(trained.model.backbone).__name__} with '
            f'{type(trained.model.decode_head).__name__}: {one_line(error)}'
        ) from error
    facts = dict(classes=trained.classes, palette=trained.palette)
    program.model.metadata_props['mmseg_kd'] = json.dumps(facts)
    with atomic_path(file) as partial:
        program.save(str(partial), external_data=False)
    return module


@torch.no_grad()
def compare(module: Exported, file: Path, images: Sequence[np.ndarray]) -> tuple[float, float]:
    """Run an exported file and the model on the CPU.

    Args:
        module: The model.
        file: The exported file.
        images: Images (H, W, 3), BGR bytes.

    Returns:
        The largest absolute difference of a logit, and the share of pixels with the same class id.
    """
    session = open_session(file, 'cpu')
    differences, equal = [], []
    for image in images:
        batch = batch_of([image])
        ours, (theirs,) = module(torch.from_numpy(batch)), session.run(None, {'images': batch})
        differences.append(float(np.abs(ours.numpy() - theirs).max()))
        equal.append((ours.numpy().argmax(axis=1) == theirs.argmax(axis=1)).ravel())
    return max(differences), float(np.concatenate(equal).mean())
