"""Checkpoints for others."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from mmseg_kd.checkpoints.publishing import publish
from mmseg_kd.errors import UserError

META = dict(
    iter=6, cfg='secret', dataset_meta=dict(classes=('a', 'b'), palette=np.eye(2, 3, dtype=int))
)
PLAIN = dict(classes=['a', 'b'], palette=[[1, 0, 0], [0, 1, 0]])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    weights = {'module.w': torch.arange(6.0).reshape(2, 3).t(), 'module.n': torch.tensor(3)}
    # A view, whose storage is large.
    weights['module.v'] = torch.zeros(1000)[:2]
    content = dict(state_dict=weights, meta=META, optimizer=dict(state={}), message_hub={})
    torch.save(content, tmp_path / 'iter_6.pth')
    return tmp_path / 'iter_6.pth'


def test_a_storage_shown_many_times_is_refused(tmp_path: Path) -> None:
    torch.save({'w': torch.zeros(1).expand(2**20, 2**20)}, tmp_path / 'x.pth')
    with pytest.raises(UserError, match='repeats its 4 bytes'):
        publish(tmp_path / 'x.pth', tmp_path / 'out.pth')
    assert [file.name for file in tmp_path.iterdir()] == ['x.pth']


def test_a_pth_is_read_by_torch_alone(checkpoint: Path, tmp_path: Path) -> None:
    file = publish(checkpoint, tmp_path / 'out' / 'student.v1.pth')
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    assert file == tmp_path / 'out' / f'student.v1-{digits}.pth'
    found = torch.load(file, weights_only=True)
    assert set(found) == {'state_dict', 'meta'}
    assert found['meta'] == dict(iter=6, dataset_meta=PLAIN)
    assert set(found['state_dict']) == {'w', 'n', 'v'}
    assert torch.equal(found['state_dict']['w'], torch.arange(6.0).reshape(2, 3).t())
    assert found['state_dict']['v'].untyped_storage().size() == 2 * 4
    assert b'secret' not in file.read_bytes()


def test_classes_of_mmsegmentation_0_are_kept(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=False)
    content['meta'] = dict(iter=6, CLASSES=('a', 'b'), PALETTE=np.eye(2, 3, dtype=int))
    torch.save(content, tmp_path / 'old.pth')
    file = publish(tmp_path / 'old.pth', tmp_path / 'new.pth')
    assert torch.load(file, weights_only=True)['meta'] == dict(iter=6, dataset_meta=PLAIN)
    content['meta'] = dict(dataset_meta=['a', 'b'])
    torch.save(content, tmp_path / 'list.pth')
    assert torch.load(publish(tmp_path / 'list.pth', tmp_path / 'l.pth'))['meta'] == {}


def test_equal_weights_give_one_file(checkpoint: Path, tmp_path: Path) -> None:
    file = publish(checkpoint, tmp_path / 'student.pth')
    content = file.read_bytes()
    assert publish(checkpoint, tmp_path / 'student.pth') == file
    assert file.read_bytes() == content
    assert {x.name for x in tmp_path.iterdir()} == {'iter_6.pth', file.name}


def test_mistakes(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'write a name that ends in \.pth'):
        publish(checkpoint, tmp_path / 'student')
    with pytest.raises(UserError, match='does not exist'):
        publish(tmp_path / 'lost.pth', tmp_path / 'student.pth')
    with pytest.raises(UserError, match=r'iter_6\.pth is a file'):
        publish(checkpoint, checkpoint / 'student.pth')
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(UserError, match='truncated'):
        publish(cut, tmp_path / 'student.pth')
    assert not list(tmp_path.glob('student*'))
