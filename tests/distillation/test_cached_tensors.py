"""Tensors are kept for the latest calls, and those of a recorded step forever."""

import gc
import weakref

import pytest
import torch

from mmseg_kd.distillation.cached_tensors import cached


def test_what_a_recorded_step_reads_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = cached(maxsize=2)(torch.arange)
    plain = weakref.ref(ramp(3))
    with monkeypatch.context() as recording:
        recording.setattr(torch.cuda, 'is_initialized', lambda: True)
        recording.setattr(torch.cuda, 'is_current_stream_capturing', lambda: True)
        # Found among the latest, and made anew.
        assert ramp(3) is plain()
        recorded = [plain, weakref.ref(ramp(4))]
    later = weakref.ref(ramp(5))
    for length in (6, 7):
        ramp(length)
    gc.collect()
    assert all(tensor() is not None for tensor in recorded)
    assert later() is None


def test_a_second_recording_keeps_the_tensor_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = cached(maxsize=2)(torch.arange)
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_current_stream_capturing', lambda: True)
    first = ramp(3)
    with monkeypatch.context() as evaluation:
        evaluation.setattr(torch.cuda, 'is_current_stream_capturing', lambda: False)
        for length in (5, 6, 7):
            ramp(length)
        assert ramp(3) is first
    assert ramp(3) is first
