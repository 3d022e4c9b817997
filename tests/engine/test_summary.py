"""What a user reads before a run starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import KD_LOSSES, tiny_config, tiny_model

from mmseg_kd.engine import build_runner, enable_amp


@pytest.mark.parametrize('fast', [False, True])
def test_a_cpu_that_emulates_16_bits_is_named(
    tmp_path: Path, teacher: dict, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr('mmseg_kd.engine.summary.fast_on_cpu', lambda dtype: fast)
    model = tiny_model(
        type='KDEncoderDecoder', teacher=teacher | dict(dtype='bfloat16'), kd_losses=KD_LOSSES
    )
    cfg = tiny_config(tmp_path, model=model, train_cfg__max_iters=1)
    enable_amp(cfg)
    build_runner(cfg).train()
    log = next(tmp_path.glob('*/*.log')).read_text()
    for setting in ('--amp (optim_wrapper.type)', 'model.teacher.dtype'):
        assert (f'{setting}: this CPU has no instructions for 16 bits' in log) is not fast
