"""An exported file predicts what the model predicts, at any size."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, run, tiny_model
from mmengine.config import Config
from PIL import Image

pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_kd.deployment import export, load_predictor
from mmseg_kd.deployment.export import Exported, compare, export_onnx, normalisation
from mmseg_kd.deployment.predictor import open_session
from mmseg_kd.deployment.segmentor import TrainedSegmentor
from mmseg_kd.distillation.teacher import build_segmentor
from mmseg_kd.errors import UserError


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    for i, size in enumerate([(96, 64), (101, 77)]):
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size).save(folder / f'{i}.png')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('options', [[], ['--end-to-end', '--fp16']])
def test_export(
    trained_pair: dict[str, Path], images: Path, tmp_path: Path, capsys, options: list[str]
) -> None:
    checkpoint, file = trained_pair['student'] / 'iter_9.pth', tmp_path / 'student.onnx'
    assert run('export.py', checkpoint, file, '--images', images, *options) == 0
    out = capsys.readouterr().out
    agreement = float(re.search(r'equal on ([\d.]+) % of the pixels of 2 images', out)[1])
    assert agreement > (99 if options else 99.9)
    if not options:
        assert float(re.search(r'largest difference of a logit: (\S+)', out)[1]) < 1e-4
    ours, exported = load_predictor(checkpoint), load_predictor(file, device='cpu')
    assert exported.classes == ours.classes and exported.palette == ours.palette
    equal = [(ours(path) == exported(path)).mean() for path in images.iterdir()]
    assert min(equal) > (0.99 if options else 0.999)
    assert run('predict.py', file, images, '--out', tmp_path / 'out') == 0
    assert len(list((tmp_path / 'out' / 'ids').iterdir())) == 2


@pytest.mark.slow
def test_a_resize_of_the_test_pipeline_is_done_around_the_file(
    trained_pair: dict[str, Path], images: Path, tmp_path: Path, capsys
) -> None:
    checkpoint = trained_pair['student'] / 'iter_9.pth'
    cfg = Config.fromfile(next(checkpoint.parent.glob('*/vis_data/config.py')))
    resize = dict(type='Resize', scale=(64, 48), keep_ratio=True)
    cfg.val_dataloader.dataset.pipeline.insert(1, resize)
    cfg.dump(tmp_path / 'config.py')
    arguments = ['--images', images, '--config', tmp_path / 'config.py']
    assert run('export.py', checkpoint, tmp_path / 'small.onnx', *arguments) == 0
    small = load_predictor(checkpoint, tmp_path / 'config.py')
    exported = load_predictor(tmp_path / 'small.onnx', device='cpu')
    paths = sorted(images.iterdir())
    assert min((small(path) == exported(path)).mean() for path in paths) > 0.999
    # It is not what the model predicts at the size of the image.
    whole = load_predictor(checkpoint)
    assert min((small(path) == whole(path)).mean() for path in paths) < 0.99

    cfg.model.test_cfg = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    cfg.dump(tmp_path / 'config.py')
    capsys.readouterr()
    assert run('export.py', checkpoint, tmp_path / 'slide.onnx', *arguments) == 2
    assert "model.test_cfg.mode='slide'" in capsys.readouterr().err

    cfg.model.test_cfg = dict(mode='whole')
    cfg.model.data_preprocessor.test_cfg = dict(size_divisor=32)
    cfg.dump(tmp_path / 'config.py')
    assert run('export.py', checkpoint, tmp_path / 'padded.onnx', *arguments) == 2
    assert 'data_preprocessor.test_cfg pads images' in capsys.readouterr().err


@pytest.mark.slow
def test_a_decoder_that_upsamples_by_a_factor_takes_any_size(tmp_path: Path) -> None:
    model = build_segmentor(str(ROOT / 'local_configs' / 'scratch' / 'fpn.r18.scratch.py')).eval()
    trained = TrainedSegmentor(model, ['a'] * 12, [[0, 0, 0]] * 12, [])
    module = export_onnx(trained, tmp_path / 'fpn.onnx', end_to_end=False, fp16=False)
    session = open_session(tmp_path / 'fpn.onnx', 'cpu')
    for size in ((128, 160), (128, 168), (200, 96)):
        image = torch.randint(0, 256, (1, 3, *size)).float()
        with torch.no_grad():
            expected = module(image).numpy()
        (found,) = session.run(None, {'images': image.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize('bgr_to_rgb', [True, False])
def test_normalisation_is_that_of_the_preprocessor(bgr_to_rgb: bool) -> None:
    preprocessor = SegDataPreProcessor(
        mean=[1.0, 20.0, 300.0], std=[5.0, 6.0, 7.0], bgr_to_rgb=bgr_to_rgb, size_divisor=32,
        test_cfg=dict(size_divisor=32),
    )  # fmt: skip
    matrix, bias = normalisation(preprocessor)
    rgb = torch.randint(0, 256, (3, 33, 40), dtype=torch.uint8)
    batch = dict(inputs=[rgb.flip(0)], data_samples=[SegDataSample()])
    expected = preprocessor(batch)['inputs'][0, :, :33, :40]
    ours = torch.einsum('ij,jhw->ihw', matrix, rgb.float()) + bias[:, None, None]
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-5)


def test_a_head_with_one_channel_is_exported_as_two_classes() -> None:
    torch.manual_seed(0)
    head = tiny_model()['decode_head'] | dict(num_classes=2, out_channels=1, threshold=0.3)
    head['loss_decode'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
    model = MODELS.build(tiny_model(decode_head=head)).eval()
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        shares = Exported(model, False)(image.permute(0, 3, 1, 2).float())[:, 1].sigmoid()
        # A threshold between two pixels, so that both classes occur and none is on it.
        low, high = shares.unique()[shares.unique().numel() // 2 - 1 :][:2]
        middle = model.decode_head.threshold = float((low + high) / 2)
        logits = Exported(model, False)(image.permute(0, 3, 1, 2).float())
        ids = Exported(model, True)(image)
    assert logits.shape == (1, 2, 64, 64)
    assert ids.equal((logits[:, 1].sigmoid() > middle).byte())
    assert set(ids.flatten().tolist()) == {0, 1}


@pytest.mark.parametrize('agreement', [0.5, None])
def test_a_file_that_is_not_proven_equal_is_not_left(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agreement: float | None
) -> None:
    def compared(module: None, file: Path, *_: object) -> tuple[float, float]:
        assert file.read_bytes() == b'exported'
        if agreement is None:
            raise UserError('ONNX Runtime is not installed')
        return 0.0, agreement

    def write(trained: None, file: Path, *_: object) -> None:
        file.write_bytes(b'exported')

    monkeypatch.setattr('mmseg_kd.deployment.export.export_onnx', write)
    monkeypatch.setattr('mmseg_kd.deployment.export.compare', compared)
    model = SimpleNamespace(trained=None)
    monkeypatch.setattr('mmseg_kd.deployment.predictor.Predictor', lambda *_: model)
    folder = tmp_path / 'new'
    assert run('export.py', 'iter_9.pth', folder / 'x.onnx', '--images', images) == 2
    assert not list(folder.iterdir())


def test_a_logit_that_is_not_a_number_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class File:
        def __init__(self, *_: object, **__: object) -> None:
            """Return NaN for the first pixel."""

        def run(self, batch: np.ndarray) -> np.ndarray:
            found = np.zeros((1, 2, 8, 8), np.float32)
            found[..., 0, 0] = np.nan
            return found

        def ids_of(self, found: np.ndarray, size: tuple[int, int]) -> np.ndarray:
            return found.argmax(axis=1)

        batch_of, resized = staticmethod(np.stack), staticmethod(np.asarray)

    monkeypatch.setattr(export, 'OnnxPredictor', File)
    module = Exported(MODELS.build(tiny_model()).eval(), False)
    module.forward = lambda _: torch.zeros(1, 2, 8, 8)
    image = np.zeros((8, 8, 3), np.uint8)
    difference, agreement = compare(module, Path(), [image], lambda _: np.zeros((8, 8)))
    assert np.isnan(difference) and agreement == 1


def test_a_device_that_onnx_runtime_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SimpleNamespace(get_providers=lambda: ['CPUExecutionProvider'])
    monkeypatch.setattr('onnxruntime.InferenceSession', lambda *_, **__: session)
    (tmp_path / 'x.onnx').touch()
    for device in (None, 'cpu'):
        assert open_session(tmp_path / 'x.onnx', device) is session
    with pytest.raises(UserError, match='--device cuda: ONNX Runtime cannot use it'):
        open_session(tmp_path / 'x.onnx', 'cuda')


def test_bad_input(trained_pair: dict[str, Path], images: Path, tmp_path: Path, capsys) -> None:
    checkpoint = trained_pair['student'] / 'iter_9.pth'
    (tmp_path / 'there.onnx').write_text('not ONNX')
    for arguments, words in (
        ([checkpoint, tmp_path / 'x.pt', '--images', images], 'x.pt does not end in .onnx'),
        ([checkpoint, tmp_path / 'there.onnx', '--images', images], 'there.onnx exists'),
        (['no.pth', tmp_path / 'x.onnx', '--images', images], 'no.pth does not exist'),
        ([checkpoint, tmp_path / 'x.onnx', '--images', 'none'], 'none: does not exist'),
    ):
        assert run('export.py', *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert run('predict.py', tmp_path / 'there.onnx', images, '--out', tmp_path / 'out') == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'is not a readable ONNX file' in line
    assert not (tmp_path / 'x.onnx').exists()
