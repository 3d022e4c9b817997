"""Export a trained segmentor to ONNX and compare the file with the model."""

import copy
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models.utils import Upsample
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.deployment.predictor import OnnxPredictor, Predictor
from mmseg_kd.deployment.segmentor import TrainedSegmentor
from mmseg_kd.errors import UserError, one_line

# Height and width of the exporter's example image; the file takes any size.
EXAMPLE = (128, 160)


class Exported(nn.Module):
    """A segmentor from RGB images to logits or class ids, normalisation included.

    Args:
        segmentor: In evaluation mode.
        end_to_end: False: images (N, 3, H, W) in float32, 0 to 255, to logits (N, K, H, W).
            True: images (N, H, W, 3) in uint8 to class ids (N, H, W) in uint8.
    """

    def __init__(self, segmentor: nn.Module, end_to_end: bool) -> None:
        super().__init__()
        self.segmentor, self.end_to_end = segmentor, end_to_end
        matrix, bias = normalisation(segmentor.data_preprocessor)
        self.register_buffer('matrix', matrix[:, :, None, None])
        self.register_buffer('bias', bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits or class ids; see the class."""
        if self.end_to_end:
            images = images.permute(0, 3, 1, 2)
        size = images.shape[2:]
        logits = self.segmentor(F.conv2d(images.to(self.matrix.dtype), self.matrix, self.bias))
        align = self.segmentor.align_corners
        logits = F.interpolate(logits, size=size, mode='bilinear', align_corners=align)
        if logits.shape[1] == 1:
            # The channel is class 1 above a threshold, so class 0 gets the logit of the threshold.
            other = torch.full_like(logits, self.segmentor.decode_head.threshold).logit()
            logits = torch.cat([other, logits], dim=1)
        return logits.argmax(dim=1).byte() if self.end_to_end else logits.float()


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


def export_onnx(trained: TrainedSegmentor, file: Path, end_to_end: bool, fp16: bool) -> Exported:
    """Write a segmentor as an ONNX file for any batch, height and width.

    Args:
        trained: The segmentor.
        file: Where to write; its metadata holds the classes and their colours.
        end_to_end: As for `Exported`.
        fp16: Whether it computes in float16.

    Returns:
        The module that was exported, in float32.

    Raises:
        UserError: The packages are not installed, the model predicts in windows, its test pipeline
            has more than a Resize, or torch cannot export it.
    """
    if trained.model.test_cfg.get('mode') == 'slide':
        raise UserError("model.test_cfg.mode='slide': a file predicts whole images, mode='whole'")
    if getattr(trained.model.data_preprocessor, 'test_cfg', None):
        raise UserError(
            'model.data_preprocessor.test_cfg pads images, which the file does not; name a config '
            'without it: --config'
        )
    if others := [step['type'] for step in trained.pipeline if step['type'] != 'Resize']:
        raise UserError(
            f'val_dataloader.dataset.pipeline: {", ".join(others)} cannot be a part of the file; '
            'name a config without it: --config'
        )
    module = Exported(trained.model, end_to_end).eval()
    shape = (2, *EXAMPLE, 3) if end_to_end else (2, 3, *EXAMPLE)
    example = torch.zeros(shape, dtype=torch.uint8 if end_to_end else torch.float32)
    sizes = dict.fromkeys((0, 1, 2) if end_to_end else (0, 2, 3), torch.export.Dim.DYNAMIC)
    names = dict(input_names=['images'], output_names=['ids' if end_to_end else 'logits'])
    for name, part in [*module.named_modules()]:
        if isinstance(part, Upsample) and part.scale_factor in (2, 4, 8):
            # mmseg's computes whole numbers, which would be those of the example in any file.
            how = dict(mode=part.mode, align_corners=part.align_corners)
            module.set_submodule(name, nn.Upsample(scale_factor=part.scale_factor, **how))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            exported = copy.deepcopy(module).half() if fp16 else module
            program = torch.onnx.export(
                exported, (example,), dynamo=True, verbose=False, dynamic_shapes=(sizes,), **names
            )
    except ImportError as error:
        raise UserError('exporting needs more packages: pip install -e ".[export]"') from error
    except Exception as error:
        raise UserError(f'torch cannot export this model: {one_line(error)}') from error
    facts = dict(classes=trained.classes, palette=trained.palette, end_to_end=end_to_end)
    # The predictor resizes the image before the file runs, and the logits afterwards.
    resize = [{k: v for k, v in step.items() if k != 'type'} for step in trained.pipeline]
    facts |= dict(resize=resize, align_corners=trained.model.align_corners)
    program.model.metadata_props['mmseg_kd'] = json.dumps(facts)
    program.save(str(file), external_data=False)
    return module


@torch.no_grad()
def compare(
    module: Exported, file: Path, images: Sequence[np.ndarray], predictor: Predictor
) -> tuple[float, float]:
    """Run the exported file and the model on images (H, W, 3), BGR bytes, on the CPU.

    Args:
        module: The exported module.
        file: The ONNX file.
        images: The images.
        predictor: Predicts with the checkpoint, also on the CPU.

    Returns:
        The largest absolute difference of a logit, which is 0 where the file returns ids, and the
        share of pixels with the same class id.
    """
    exported = OnnxPredictor(file, device='cpu')
    difference, equal, pixels = 0.0, 0, 0
    # Compare at the size of the file's input, because class ids cannot be resized as logits can.
    for image in map(exported.resized, images):
        batch = exported.batch_of([image])
        found = exported.run(batch)
        ours, theirs = predictor(image), exported.ids_of(found, image.shape[:2])[0]
        equal += int((ours == theirs).sum())
        pixels += ours.size
        if not module.end_to_end:
            logits = module(torch.from_numpy(batch)) - torch.from_numpy(found)
            # Python's max would drop a NaN.
            difference = np.maximum(difference, float(logits.abs().max()))
    return difference, equal / pixels
