from __future__ import annotations

import pytest
import torch

from mmseg_kd.checkpoints import read_checkpoint, state_dict_of
from mmseg_kd.errors import UserError


class TestStateDictOf:
    @pytest.mark.parametrize('key', ['state_dict', 'model', 'model_state_dict'])
    def test_wrapped(self, key):
        assert list(state_dict_of({key: {'w': torch.ones(1)}, 'meta': {}})) == ['w']

    def test_bare(self):
        assert list(state_dict_of({'w': torch.ones(1), 'epoch': 3})) == ['w']

    def test_ddp_prefix(self):
        assert list(state_dict_of({'module.w': torch.ones(1), 'module.b': torch.ones(1)})) == [
            'w',
            'b',
        ]
        mixed = {'module.w': torch.ones(1), 'b': torch.ones(1)}
        assert list(state_dict_of(mixed)) == list(mixed)

    def test_no_tensors(self):
        with pytest.raises(UserError, match=r'x\.pth: holds no model weights, only epoch, lr'):
            state_dict_of({'epoch': 1, 'lr': 0.1}, 'x.pth')

    @pytest.mark.parametrize(
        'odd',
        [
            torch.eye(2).to_sparse(),
            torch.empty(2, device='meta'),
            torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        ],
        ids=['sparse', 'meta', 'quantized'],
    )
    def test_odd_tensors(self, odd):
        with pytest.raises(UserError, match='w is sparse, quantized or without data'):
            state_dict_of({'w': odd})

    @pytest.mark.parametrize(
        'value', [float('nan'), float('inf'), -float('inf'), 1j * float('nan')]
    )
    def test_not_finite(self, value):
        with pytest.raises(UserError, match=r'x\.pth: w is not finite'):
            state_dict_of({'v': torch.ones(2), 'w': torch.tensor([1, value])}, 'x.pth')

    @pytest.mark.parametrize(
        'dtype', [torch.float8_e4m3fn, torch.bfloat16, torch.int64, torch.bool]
    )
    def test_types_that_are_finite(self, dtype):
        assert list(state_dict_of({'w': torch.ones(2).to(dtype)})) == ['w']

    def test_not_finite_in_8_bits(self):
        with pytest.raises(UserError, match='w is not finite'):
            state_dict_of({'w': torch.tensor([float('nan')]).to(torch.float8_e5m2)})

    def test_a_storage_shown_many_times(self, tmp_path):
        # 4 TiB in a file of a kilobyte.
        torch.save({'w': torch.zeros(1).expand(2**20, 2**20)}, tmp_path / 'x.pth')
        with pytest.raises(UserError, match=r'w of shape \(1048576, 1048576\) repeats its 4 bytes'):
            state_dict_of(read_checkpoint(tmp_path / 'x.pth'), tmp_path / 'x.pth')
        assert list(state_dict_of({'w': torch.zeros(1).expand(100)})) == ['w']

    def test_unprintable_name(self):
        with pytest.raises(UserError, match=r'cannot be shown, a\\nb'):
            state_dict_of({'a\nb': torch.ones(1)})
