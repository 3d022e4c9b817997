"""What a user reads before a run starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_config, tiny_model

from mmseg_kd.engine import build_runner
from mmseg_kd.engine.starting import describe_run


@pytest.mark.parametrize('kind', ['EncoderDecoder', 'KDEncoderDecoder'])
def test_a_student_that_is_not_distilled_says_so(tmp_path: Path, kind: str) -> None:
    text = describe_run(build_runner(tiny_config(tmp_path, model=tiny_model(type=kind))))
    assert ('kd loss     none: this run trains the plain student' in text) is (kind[:2] == 'KD')
    assert f'student     {kind}, MixTransformer + SegFormerHead, ' in text


@pytest.mark.parametrize('precision', ['highest', 'high'])
def test_the_precision_is_said(tmp_path: Path, precision: str) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    cfg = tiny_config(tmp_path)
    try:
        text = describe_run(build_runner(cfg))
        cfg.optim_wrapper.type = 'Bf16OptimWrapper'
        cast = describe_run(build_runner(cfg))
    finally:
        torch.set_float32_matmul_precision(before)
    assert f'precision   float32_matmul_precision={precision!r}' in text
    assert f'precision   bfloat16 autocast; float32_matmul_precision={precision!r}' in cast


def test_a_cascade_of_heads_is_trained_and_tested(tmp_path: Path, teacher: dict) -> None:
    head = dict(in_channels=32, in_index=3, channels=8, num_classes=12)
    heads = [dict(head, type='FCNHead'), dict(head, type='OCRHead', ocr_channels=4)]
    model = tiny_model(
        type='KDCascadeEncoderDecoder',
        num_stages=2,
        decode_head=heads,
        teacher=teacher,
        kd_losses=dict(kl_loss=KD_LOSSES['kl_loss']),
    )
    cfg = tiny_config(tmp_path, model=model, train_cfg__max_iters=1, train_cfg__val_interval=1)
    runner = build_runner(cfg)
    runner.train()
    assert 'KDCascadeEncoderDecoder, MixTransformer + FCNHead + OCRHead' in describe_run(runner)
    assert (tmp_path / 'gradients.jsonl').is_file()
    assert runner.test()['aAcc'] >= 0
