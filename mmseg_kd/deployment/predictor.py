"""Predict the class ids of images with a checkpoint or an exported file."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import Resize
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device

from mmseg_kd.config.errors import config_errors
from mmseg_kd.datasets.checked_files import LoadCheckedImage
from mmseg_kd.deployment.segmentor import load_segmentor
from mmseg_kd.errors import UserError, user_errors
from mmseg_kd.registry import only_registered


class Predictor:
    """Predict class ids with a checkpoint, as `tools/test.py` does.

    Args:
        checkpoint: A checkpoint of a training, or a published one with `config`.
        config: A config file, where the checkpoint has none.
        device: By default a GPU if there is one.

    Attributes:
        trained: The model, its classes and its test pipeline; `OnnxPredictor` does not have it.
        classes: Names of the classes in the order of their ids.
        palette: Their RGB colours, 0 to 255.

    Raises:
        UserError: See `mmseg_kd.deployment.segmentor.load_segmentor`.

    Example:
        >>> from mmseg_kd.deployment import Predictor
        >>> predictor = Predictor('work_dirs/student/best_mIoU_iter_4000.pth')  # doctest: +SKIP
        >>> ids = predictor('photo.jpg')  # doctest: +SKIP
    """

    def __init__(
        self, checkpoint: str | Path, config: str | Path | None = None, device: str | None = None
    ) -> None:
        self.trained = trained = load_segmentor(checkpoint, config)
        self.classes, self.palette = trained.classes, trained.palette
        with user_errors(f'--device {device}: ', RuntimeError, AssertionError):
            self.model = trained.model.to(device or get_device())
        steps = [dict(type='LoadImageFromNDArray'), *trained.pipeline, dict(type='PackSegInputs')]
        with config_errors(), only_registered(trusted=bool(config)):
            self._prepare = Compose(steps)

    def __call__(self, image: str | Path | np.ndarray) -> np.ndarray:
        """Predict one image.

        Args:
            image: A file, or an array (H, W, 3) of BGR bytes as OpenCV reads it.

        Returns:
            Class ids (H, W), uint8.
        """
        return self.predict([read_image(image) if isinstance(image, str | Path) else image])[0]

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Predict several images of one size (H, W, 3), BGR, in one batch; ids (H, W) each."""
        batch = pseudo_collate([self._prepare(dict(img=image)) for image in images])
        results = self.model.test_step(batch)
        return [result.pred_sem_seg.data[0].byte().cpu().numpy() for result in results]


class OnnxPredictor(Predictor):
    """Predict with a file of `tools/export.py`, in ONNX Runtime; arguments as for `Predictor`."""

    def __init__(
        self, checkpoint: str | Path, config: str | Path | None = None, device: str | None = None
    ) -> None:
        if config is not None:
            raise UserError(f'--config: {checkpoint} needs none')
        self._session = open_session(Path(checkpoint), device)
        try:
            facts = json.loads(self._session.get_modelmeta().custom_metadata_map['mmseg_kd'])
            self.classes, self.palette = facts['classes'], facts['palette']
            self._end_to_end = facts['end_to_end']
            # Files of earlier versions have neither. JSON has lists where a config has tuples.
            self._align_corners = facts.get('align_corners', False)
            self._resize = [
                Resize(**{k: tuple(v) if isinstance(v, list) else v for k, v in step.items()})
                for step in facts.get('resize', ())
            ]
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f'{checkpoint}: was not written by tools/export.py') from error

    def predict(self, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Predict several images of one size; see `Predictor`."""
        return self.ids_of(self.run(self.batch_of(images)), images[0].shape[:2])

    def ids_of(self, found: np.ndarray, size: tuple[int, int]) -> Sequence[np.ndarray]:
        """Convert the file's output to class ids of a height and width."""
        if self._end_to_end:
            return [cv2.resize(x, size[::-1], interpolation=cv2.INTER_NEAREST) for x in found]
        if found.shape[2:] != size:
            logits = torch.from_numpy(found)
            align = self._align_corners
            found = F.interpolate(logits, size, mode='bilinear', align_corners=align).numpy()
        return found.argmax(axis=1).astype(np.uint8)

    def batch_of(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the file's input for several images of one size (H, W, 3), BGR."""
        batch = np.ascontiguousarray(np.stack([*map(self.resized, images)])[..., ::-1])
        if self._end_to_end:
            return batch
        return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)

    def resized(self, image: np.ndarray) -> np.ndarray:
        """Resize an image (H, W, 3) as the checkpoint's test pipeline does."""
        for step in self._resize:
            image = step(dict(img=image))['img']
        return image

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the file's output, logits (N, K, h, w) or class ids (N, h, w)."""
        return self._session.run(None, {'images': batch})[0]


def load_predictor(file: str | Path, *args: object, **kwargs: object) -> Predictor:
    """Make the predictor of a file: `OnnxPredictor` for `.onnx`, else `Predictor`."""
    onnx = Path(file).suffix.lower() == '.onnx'
    return (OnnxPredictor if onnx else Predictor)(file, *args, **kwargs)


def open_session(file: Path, device: str | None = None):  # noqa: ANN201 - of an optional package
    """Open an ONNX file in ONNX Runtime.

    Raises:
        UserError: ONNX Runtime is not installed, or cannot read the file or use the device.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f'{file}: needs ONNX Runtime: pip install -e ".[export]"') from error
    cpu = ['CPUExecutionProvider']
    providers = cpu if device == 'cpu' else onnxruntime.get_available_providers()
    index = (device or '').partition(':')[2] or '0'
    options = {'CUDAExecutionProvider': {'device_id': index}}
    providers = [(name, options.get(name, {})) for name in providers]
    if not file.is_file():
        raise UserError(f'{file}: does not exist')
    # ONNX Runtime has a different error class for each kind of damage.
    with user_errors(f'{file}: is not a readable ONNX file (', Exception, after=')'):
        # Errors only; the warnings are about optimisations that do not apply.
        onnxruntime.set_default_logger_severity(3)
        session = onnxruntime.InferenceSession(str(file), providers=providers)
    if device not in (None, 'cpu') and 'CUDAExecutionProvider' not in session.get_providers():
        raise UserError(
            f'--device {device}: ONNX Runtime cannot use it; write --device cpu, or install '
            'onnxruntime-gpu in place of onnxruntime'
        )
    return session


def read_image(file: str | Path) -> np.ndarray:
    """Read an image (H, W, 3) as BGR bytes, turned by its EXIF orientation.

    Raises:
        UserError: The file is missing, truncated or not an image.
    """
    return LoadCheckedImage().transform(dict(img_path=str(file)))['img']
