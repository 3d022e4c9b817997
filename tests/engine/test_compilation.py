"""`compile` compiles the blocks of student and teacher and leaves the curve as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, TINY_BACKBONE, tiny_config, tiny_model
from mmseg.registry import MODELS

from mmseg_kd.distillation.taps import record_taps
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.compilation import cannot_compile, compile_blocks
from mmseg_kd.errors import UserError

# Traces as inductor does, and needs no compiler.
TRACED = dict(backend='aot_eager')


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    torch.compiler.reset()


def losses(folder: Path, teacher: dict, **options: object) -> list[float]:
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    cfg = tiny_config(folder, model=model, train_cfg__max_iters=4, **options)
    # Gradients of several losses are taken through the same graph.
    cfg.default_hooks.gradient_report.interval = 2
    build_runner(cfg).train()
    (file,) = folder.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [row['loss'] for row in rows if 'loss' in row]


@pytest.mark.slow
def test_the_curve_is_the_same(tmp_path: Path, teacher: dict) -> None:
    compiled = losses(tmp_path / 'compiled', teacher, compile=TRACED)
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] >= 8
    assert compiled == pytest.approx(losses(tmp_path / 'eager', teacher), rel=1e-5)
    assert 'compile: 8 blocks' in next((tmp_path / 'compiled').glob('*/*.log')).read_text()


@pytest.mark.slow
def test_a_copy_has_weights_of_its_own() -> None:
    model = MODELS.build(tiny_model()).train()
    image = torch.randn(2, 3, 64, 64)
    assert compile_blocks(model, TRACED) == 4
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert twin(image, mode='tensor').abs().max() > 0
    assert list(twin.state_dict()) == list(MODELS.build(tiny_model()).state_dict())


@pytest.mark.slow
def test_an_evaluation_is_not_compiled() -> None:
    model = MODELS.build(tiny_model()).eval()
    compile_blocks(model, TRACED)
    torch._dynamo.utils.counters.clear()
    with torch.no_grad():
        model(torch.randn(1, 3, 64, 96), mode='tensor')
    assert not torch._dynamo.utils.counters['stats']
    model.requires_grad_(False)
    compile_blocks(model, TRACED)
    with torch.no_grad():
        model(torch.randn(1, 3, 64, 96), mode='tensor')
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] >= 1


@pytest.mark.slow
@pytest.mark.parametrize('teacher_trains', [True, False])
def test_a_part_of_a_block_is_heard_from_the_middle_on(teacher_trains: bool) -> None:
    model = MODELS.build(tiny_model(backbone=TINY_BACKBONE | dict(drop_path_rate=0.0)))
    model.requires_grad_(teacher_trains)
    compile_blocks(model, TRACED)
    image = torch.randn(2, 3, 64, 64)
    for names in ([], ['backbone.block4.0.mlp'], [], ['backbone.block4.0.mlp']):
        with torch.set_grad_enabled(teacher_trains), record_taps(model, names) as taps:
            model(image, mode='tensor')
        assert list(taps) == names


def test_chance_is_that_of_the_uncompiled_block() -> None:
    compile_blocks(MODELS.build(tiny_model()), TRACED)
    assert torch._inductor.config.fallback_random


@pytest.mark.slow
def test_blocks_in_lists_of_lists() -> None:
    stock = dict(
        type='MixVisionTransformer', embed_dims=8, num_layers=[1, 2, 1, 1], num_heads=[1, 1, 1, 1],
        patch_sizes=[7, 3, 3, 3], sr_ratios=[8, 4, 2, 1],
    )  # fmt: skip
    model = MODELS.build(tiny_model())
    model.backbone = MODELS.build(stock)
    # With each stage's patch embedding.
    assert compile_blocks(model, TRACED) == 5 + 4
    torch._dynamo.utils.counters.clear()
    model.backbone(torch.randn(1, 3, 64, 64))
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] >= 5


@pytest.mark.parametrize('options', [dict(mode='fastest'), dict(backend='gcc'), dict(speed=2)])
def test_wrong_options(options: dict) -> None:
    with pytest.raises(UserError, match=r'^compile: .*; write compile=True'):
        cannot_compile(torch.device('cpu'), options)


@pytest.mark.slow
def test_where_it_is_not_possible_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine without a C++ compiler.
    monkeypatch.setenv('CXX', 'no_such_compiler')
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setattr(torch._inductor.config.cpp, 'cxx', (None, 'no_such_compiler'))
    cfg = tiny_config(tmp_path / 'run', compile=True, train_cfg__max_iters=1)
    build_runner(cfg).train()
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'compile: not possible here, training continues without (' in log
    assert (tmp_path / 'run' / 'iter_1.pth').is_file()
