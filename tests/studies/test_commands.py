"""The arguments of `tools/study.py`."""

import pytest

from mmseg_kd.errors import UserError
from mmseg_kd.studies.commands import _devices


@pytest.mark.parametrize(
    ('outer', 'gpus', 'devices'),
    [
        (None, '0,2', ['0', '2']),
        ('4,6,7', '0,2', ['4', '7']),
        ('GPU-1a, GPU-2b', '1', ['GPU-2b']),
        ('2', None, None),
    ],
)
def test_gpus_count_what_the_environment_leaves(
    monkeypatch: pytest.MonkeyPatch, outer: str | None, gpus: str | None, devices: list | None
) -> None:
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if outer is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', outer)
    assert _devices(gpus) == devices


@pytest.mark.parametrize(
    ('gpus', 'says'),
    [('2', 'no device 2: CUDA_VISIBLE_DEVICES=4,6'), ('0,0', 'twice'), ('a', 'such as 0,1')],
)
def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, gpus: str, says: str) -> None:
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,6')
    with pytest.raises(UserError, match=says):
        _devices(gpus)
