"""Every way by which weights and configs get in: nothing in a file runs, nothing partial passes."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, TINY_BACKBONE, config_file, run, tiny_config, tiny_model

from mmseg_kd.config import choose_start, prepare_test
from mmseg_kd.distillation.teacher import Teacher, build_segmentor
from mmseg_kd.engine import build_runner

HEAD = dict(
    type='FCNHead', in_channels=32, in_index=3, channels=8, num_classes=12, norm_cfg=dict(type='BN')
)
RESNET = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN'))
SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(1,) * 4, num_heads=(1, 1, 2, 2))
VIT = dict(type='VisionTransformer', img_size=64, embed_dims=32, num_layers=2, num_heads=2)
FPN = dict(type='FPN', in_channels=[8, 16, 16, 32], out_channels=32, num_outs=4)
TIMM = dict(type='TIMMBackbone', model_name='mobilenetv3_small_050')
TIMM_HEAD = HEAD | dict(in_index=0, in_channels=16)


def pretrained(file: Path) -> dict:
    return dict(type='Pretrained', checkpoint=str(file))


# Each names the file `F` in another place of a model.
MODEL_DOORS = {
    'pretrained': lambda F: dict(pretrained=str(F)),
    'backbone.pretrained': lambda F: dict(backbone=TINY_BACKBONE | dict(pretrained=str(F))),
    'pretrained of ResNet': lambda F: dict(
        backbone=RESNET, decode_head=HEAD | dict(in_channels=64), pretrained=str(F)
    ),
    'init_cfg': lambda F: dict(init_cfg=pretrained(F)),
    'init_cfg in a list': lambda F: dict(
        init_cfg=[dict(type='Normal', layer='Conv2d'), pretrained(F)]
    ),
    'backbone.init_cfg': lambda F: dict(
        backbone=RESNET | dict(init_cfg=pretrained(F)), decode_head=HEAD | dict(in_channels=64)
    ),
    'backbone.init_cfg of Swin': lambda F: dict(
        backbone=SWIN | dict(init_cfg=pretrained(F)), decode_head=HEAD | dict(in_channels=64)
    ),
    'backbone.init_cfg of ViT': lambda F: dict(
        backbone=VIT | dict(init_cfg=pretrained(F)), decode_head=HEAD | dict(in_index=0)
    ),
    'neck.init_cfg': lambda F: dict(
        neck=FPN | dict(init_cfg=pretrained(F)), decode_head=HEAD | dict(in_channels=32)
    ),
    'decode_head.init_cfg': lambda F: dict(decode_head=HEAD | dict(init_cfg=pretrained(F))),
    'decode_head.init_cfg.override': lambda F: dict(
        decode_head=HEAD
        | dict(
            init_cfg=dict(
                type='Normal', layer='Linear', override=dict(name='conv_seg', **pretrained(F))
            )
        )
    ),
    'backbone.checkpoint_path of timm': lambda F: dict(
        backbone=TIMM | dict(pretrained=False, checkpoint_path=str(F)), decode_head=TIMM_HEAD
    ),
    'teacher.checkpoint': lambda F: dict(
        type='KDEncoderDecoder',
        teacher=dict(config=tiny_model(), checkpoint=str(F)),
        kd_losses=KD_LOSSES,
    ),
}


class MakesFolder:
    """Pickles as code: reading it runs `os.mkdir`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A checkpoint that makes `executed` beside itself when it is unpickled."""
    file = tmp_path / 'hostile.pth'
    torch.save({'state_dict': {'w': MakesFolder(tmp_path / 'executed')}}, file)
    return file


@pytest.fixture(scope='session')
def not_finite(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny baseline with one weight that is nan."""
    checkpoint = torch.load(trained / 'run' / 'iter_6.pth', weights_only=False)
    checkpoint['state_dict']['decode_head.linear_pred.weight'][3] = float('nan')
    file = tmp_path_factory.mktemp('not_finite') / 'iter_6.pth'
    torch.save(checkpoint, file)
    return file


def start(door: str, file: Path, folder: Path) -> int:
    """Let a file in through one door, as a user would; the exit code."""
    if door in MODEL_DOORS:
        cfg = tiny_config(folder / 'run')
        cfg.model = tiny_model(**MODEL_DOORS[door](file))
        cfg.dump(folder / 'config.py')
        return run('train.py', folder / 'config.py')
    config = config_file(folder, **({'load_from': str(file)} if door == 'load_from' else {}))
    if door == '--resume of a work_dir':
        (folder / 'run').mkdir()
        (folder / 'run' / 'iter_3.pth').write_bytes(file.read_bytes())
    return {
        'load_from': lambda: run('train.py', config),
        '--resume': lambda: run('train.py', config, '--resume', file),
        '--resume of a work_dir': lambda: run('train.py', config, '--resume'),
        'test': lambda: run('test.py', config, file),
        'publish': lambda: run('misc/publish_model.py', file, folder / 'out.pth'),
    }[door]()


TOOL_DOORS = ('load_from', '--resume', '--resume of a work_dir', 'test', 'publish')


def one_line(capsys: pytest.CaptureFixture) -> str:
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1
    return errors[0]


@pytest.mark.parametrize('door', [*MODEL_DOORS, *TOOL_DOORS])
def test_no_door_runs_a_file(
    door: str, hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert start(door, hostile, tmp_path) == 2
    error = one_line(capsys)
    assert 'refuses to load, it names "posix.mkdir"' in error or 'nt.mkdir' in error
    assert '.pth' in error
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('door', ['teacher.checkpoint', 'init_cfg', *TOOL_DOORS])
def test_weights_that_are_not_finite_are_named(
    door: str, not_finite: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert start(door, not_finite, tmp_path) == 2
    assert 'decode_head.linear_pred.weight is not finite' in one_line(capsys)


@pytest.mark.parametrize('door', [name for name in MODEL_DOORS if name != 'teacher.checkpoint'])
def test_nothing_is_read_where_a_checkpoint_has_all_weights(
    door: str, hostile: Path, tmp_path: Path
) -> None:
    model = tiny_model(**MODEL_DOORS[door](hostile))
    plain = build_segmentor(model)
    torch.save(plain.state_dict(), tmp_path / 'teacher.pth')
    Teacher(model, str(tmp_path / 'teacher.pth')).segmentor.init_weights()

    cfg = tiny_config(tmp_path / 'run')
    cfg.model = model
    prepare_test(cfg, str(tmp_path / 'teacher.pth'))
    build_runner(cfg).bare_model.init_weights()
    assert not (tmp_path / 'executed').exists()


def test_nothing_is_fetched_that_the_config_does_not_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    asked = []
    create = timm.create_model
    monkeypatch.setattr(
        timm,
        'create_model',
        lambda **kwargs: asked.append(kwargs['pretrained']) or create(**kwargs),
    )
    for setting in ({}, {'pretrained': True}, {'pretrained': False}):
        model = tiny_model(backbone=TIMM | setting, decode_head=TIMM_HEAD)
        torch.save(build_segmentor(model).state_dict(), tmp_path / 'timm.pth')
        resumed, tested = tiny_config(tmp_path / 'run'), tiny_config(tmp_path / 'run')
        resumed.model, tested.model = copy.deepcopy(model), copy.deepcopy(model)
        choose_start(resumed, str(tmp_path / 'timm.pth'))
        prepare_test(tested, str(tmp_path / 'timm.pth'))
        build_runner(resumed)
        build_runner(tested)
    assert asked == [False] * 9


def test_a_download_without_a_connection_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    cfg = tiny_config(tmp_path / 'run')
    # timm's backbones download unless told not to, and training is told nothing.
    cfg.model = tiny_model(backbone=TIMM, decode_head=TIMM_HEAD)
    cfg.dump(tmp_path / 'config.py')
    assert run('train.py', tmp_path / 'config.py') == 2
    error = one_line(capsys)
    assert 'the model cannot be built' in error and 'write model.backbone.pretrained=False' in error


def test_a_file_of_another_timm_model_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    torch.save({'w': torch.ones(1)}, tmp_path / 'other.pth')
    assert start('backbone.checkpoint_path of timm', tmp_path / 'other.pth', tmp_path) == 2
    assert 'other.pth does not fit TIMMBackbone: 0 of ' in one_line(capsys)
