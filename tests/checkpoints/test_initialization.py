from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import TINY_BACKBONE, tiny_model
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from torch import nn

from mmseg_kd.checkpoints.initialization import init_weights
from mmseg_kd.checkpoints.sources import find_weights
from mmseg_kd.errors import UserError

RESNET = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN'))
SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(1,) * 4, num_heads=(1, 1, 2, 2))
VIT = dict(type='VisionTransformer', img_size=64, embed_dims=32, num_layers=2, num_heads=2)
PIDNET = dict(type='PIDNet', channels=8, ppm_channels=8, num_stem_blocks=1, num_branch_blocks=1)


def with_backbone(backbone: dict) -> nn.Module:
    head = dict(type='FCNHead', in_channels=8, in_index=0, channels=8, num_classes=3)
    return MODELS.build(tiny_model(backbone=dict(backbone), decode_head=head))


def weights(backbone: dict, file: Path, **changes: torch.Tensor) -> dict[str, torch.Tensor]:
    init_default_scope('mmseg')
    torch.manual_seed(5)
    state = with_backbone(backbone).backbone.state_dict()
    # No initialisation gives these.
    state = {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in state.items()}
    torch.save(state | changes, file)
    return state


@pytest.mark.parametrize('backbone', [RESNET, SWIN, VIT, PIDNET], ids=lambda b: b['type'])
def test_every_tensor_of_the_file_arrives(backbone: dict, tmp_path: Path, log: list[str]) -> None:
    file = tmp_path / 'w.pth'
    state = weights(backbone, file, **{'fc.weight': torch.ones(2)})
    setting = dict(type='Pretrained', checkpoint=str(file))
    model = with_backbone(backbone | dict(init_cfg=setting))
    init_weights(model)
    arrived = model.backbone.state_dict()
    assert all(torch.equal(arrived[key], state[key]) for key in state)
    n = len(state)
    line = f'{file}: matched {n}/{n} tensors of model.backbone, left out fc.weight'
    assert line in log


@pytest.mark.parametrize('backbone', [RESNET, SWIN, VIT, PIDNET], ids=lambda b: b['type'])
@pytest.mark.parametrize('fault', ['missing', 'unexpected', 'of another shape'])
def test_a_file_that_does_not_fit_is_refused(backbone: dict, fault: str, tmp_path: Path) -> None:
    file = tmp_path / 'w.pth'
    state = weights(backbone, file)
    name = next(key for key, value in state.items() if value.ndim == 4)
    if fault == 'missing':
        del state[name]
    elif fault == 'unexpected':
        name, state['conv99.weight'] = 'conv99.weight', torch.ones(1)
    else:
        state[name] = state[name][:, :, :1, :1]
    torch.save(state, file)
    model = with_backbone(backbone | dict(init_cfg=dict(type='Pretrained', checkpoint=str(file))))
    with pytest.raises(UserError) as caught:
        init_weights(model)
    message = str(caught.value)
    assert message.startswith(f'{file} does not fit {backbone["type"]}: ')
    assert f'{fault} 1 ({name}' in message
    assert 'write strict=False in model.backbone.init_cfg' in message
    assert '\n' not in message


def test_what_fits_is_enough_where_the_config_says_so(tmp_path: Path, log: list[str]) -> None:
    file = tmp_path / 'w.pth'
    state = weights(RESNET, file)
    del state['conv1.weight']
    torch.save(state, file)
    setting = dict(type='Pretrained', checkpoint=str(file), strict=False)
    model = with_backbone(RESNET | dict(init_cfg=setting))
    init_weights(model)
    n = len(state)
    assert f'{file}: matched {n}/{n + 1} tensors, missing 1 (conv1.weight) of model.backbone' in log
    torch.save({'other': torch.ones(1)}, file)
    with pytest.raises(UserError, match='the file is of another architecture'):
        init_weights(with_backbone(RESNET | dict(init_cfg=setting)))


@pytest.mark.parametrize('prefix', [{}, {'prefix': 'backbone.'}], ids=['found', 'given'])
def test_a_part_of_a_file_has_a_prefix(prefix: dict, tmp_path: Path) -> None:
    file = tmp_path / 'segmentor.pth'
    source = with_backbone(RESNET)
    torch.save({'state_dict': source.state_dict(), 'meta': {}}, file)
    setting = dict(type='Pretrained', checkpoint=str(file), **prefix)
    model = with_backbone(RESNET | dict(init_cfg=setting))
    init_weights(model)
    for key, value in source.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], value)


def test_an_init_cfg_that_nothing_reads_is_reported(tmp_path: Path) -> None:
    weights(RESNET, tmp_path / 'w.pth')
    model = with_backbone(RESNET)
    model.backbone.stem_of_its_own = nn.Conv2d(3, 3, 1)
    model.backbone.stem_of_its_own.init_cfg = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'w.pth')
    )
    with pytest.raises(UserError, match=r'model\.backbone\.stem_of_its_own\.init_cfg: Conv2d does'):
        init_weights(model)


def test_mmengines_own_functions_read_a_file_as_data(tmp_path: Path) -> None:
    torch.save({'state_dict': {'weight': print}}, tmp_path / 'code.pth')
    with pytest.raises(UserError, match='which is code and not weights'):
        load_checkpoint(nn.Linear(1, 1), str(tmp_path / 'code.pth'))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of the files in `tmp_path/served`."""
    (tmp_path / 'served').mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / 'served')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{http_server.server_port}'
        http_server.shutdown()


def test_a_url_is_downloaded_once_and_read_as_data(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    weights(RESNET, tmp_path / 'served' / 'w.pth')
    backbone = RESNET | dict(pretrained=f'{server}/w.pth')
    init_weights(with_backbone(backbone))
    (tmp_path / 'served' / 'w.pth').unlink()
    init_weights(with_backbone(backbone))
    torch.save({'state_dict': {'weight': print}}, tmp_path / 'served' / 'code.pth')
    with pytest.raises(UserError, match='which is code and not weights'):
        init_weights(with_backbone(RESNET | dict(pretrained=f'{server}/code.pth')))


def test_a_name_holds_the_hash_of_its_file(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    content = b'weights'
    digits = hashlib.sha256(content).hexdigest()[:8]
    for name in (f'w-{digits}.pth', 'w-00000000.pth', 'w.pth'):
        (tmp_path / 'served' / name).write_bytes(content)
    found = find_weights(f'{server}/w-{digits}.pth')
    # Where torch.hub keeps it too.
    assert found.parent == tmp_path / 'cache' / 'hub' / 'checkpoints'
    with pytest.raises(UserError, match=r'w-00000000\.pth: cannot be downloaded'):
        find_weights(f'{server}/w-00000000.pth')
    assert find_weights(f'{server}/w.pth') != find_weights(f'{server}/w.pth?of=another')


def test_a_drive_of_windows_is_a_path() -> None:
    assert find_weights('C://weights/mit_b0.pth') == Path('C://weights/mit_b0.pth')


@pytest.mark.parametrize(
    ('source', 'problem'),
    [
        ('{server}/gone.pth', r'gone\.pth: cannot be downloaded \(HTTP Error 404.*write its path'),
        ('http://', 'cannot be downloaded'),
        ('s3://bucket/w.pth', r's3:// is not supported, download it'),
        ('open-mmlab://resnet51', 'open-mmlab has no weights of this name'),
        ('torchvision://resnet51', 'torchvision has no weights of this name'),
    ],
)
def test_a_source_that_gives_nothing_is_one_line(
    source: str, problem: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    with pytest.raises(UserError, match=problem) as caught:
        find_weights(source.format(server=server))
    assert '\n' not in str(caught.value)
    assert not list((tmp_path / 'cache').rglob('*.pth'))
    backbone = TINY_BACKBONE | dict(pretrained=source.format(server=server))
    with pytest.raises(UserError, match=problem):
        init_weights(MODELS.build(tiny_model(backbone=backbone)))
