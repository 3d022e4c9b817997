from __future__ import annotations

import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from pickled import Calls, refusal, touch, zip_pickle

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.errors import UserError


@pytest.fixture
def footprint(tmp_path):
    return tmp_path / 'executed'


class TestFormats:
    def test_tar_of_old_torch(self, tmp_path, footprint):
        path = tmp_path / 'old.pth'
        hostile = pickle.dumps(Calls(eval, f'open({str(footprint)!r}, "w")'), protocol=2)
        with tarfile.open(path, 'w') as archive:
            for name in ('storages', 'tensors', 'pickle'):
                member = tarfile.TarInfo(name)
                member.size = len(hostile)
                archive.addfile(member, io.BytesIO(hostile))
        refusal(path)
        assert not footprint.exists()

    def test_torchscript(self, tmp_path):
        path = tmp_path / 'script.pth'
        # the marker by which torch tells a program: building one takes seconds
        zip_pickle(path, b'\x80\x02}.')
        with zipfile.ZipFile(path, 'a') as archive:
            archive.writestr(f'{archive.namelist()[0].split("/")[0]}/constants.pkl', b'\x80\x02).')
        assert 'not a checkpoint' in refusal(path)

    @pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4, 5])
    def test_plain_pickle(self, tmp_path, footprint, protocol):
        path = tmp_path / 'plain.pth'
        call = Calls(eval, f'open({str(footprint)!r}, "w")')
        path.write_bytes(pickle.dumps({'a': call}, protocol=protocol))
        refusal(path)
        assert not footprint.exists()

    def test_protocol_0_reduce(self, tmp_path, footprint):
        path = tmp_path / 'zero.pth'
        command = touch(footprint).replace("'", '"')
        path.write_bytes(f"cos\nsystem\n(S'{command}'\ntR.".encode())
        assert 'it names "os.system"' in refusal(path)
        assert not footprint.exists()

    def test_missing(self, tmp_path):
        with pytest.raises(UserError, match=r'the checkpoint .*none.pth does not exist'):
            read_checkpoint(tmp_path / 'none.pth')

    def test_folder(self, tmp_path):
        with pytest.raises(UserError, match='is a folder'):
            read_checkpoint(tmp_path)

    def test_empty(self, tmp_path):
        path = tmp_path / 'empty.pth'
        path.touch()
        assert 'is empty (0 bytes)' in refusal(path)

    @pytest.mark.parametrize('part', [0.02, 0.5, 0.99])
    def test_truncated(self, tmp_path, part):
        path = tmp_path / 'cut.pth'
        torch.save({'w': torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
        message = refusal(path)
        assert 'is truncated, damaged or not a checkpoint' in message
        assert 'download it again' in message

    @pytest.mark.parametrize(
        ('text', 'shown'),
        [
            ('\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>', '<!DOCTYPE html>'),
            ('Not found', '(9 bytes, "Not found")'),
            ('checkpoint file\nof a run\n', '"checkpoint file'),
            ('{"error": 1}', '"{"error": 1}"'),
            (
                'version https://git-lfs.github.com/spec/v1\noid sha256:4af8\n',
                '"version https://git',
            ),
        ],
    )
    def test_text(self, tmp_path, text, shown):
        path = tmp_path / 'text.pth'
        path.write_text(text)
        message = refusal(path)
        assert 'is a text file such as a web page' in message
        assert shown in message
        assert message.endswith('for a git-lfs pointer run: git lfs pull')

    def test_noise(self, tmp_path):
        path = tmp_path / 'noise.pth'
        path.write_bytes(np.random.default_rng(0).bytes(4096))
        assert 'not a checkpoint' in refusal(path)

    def test_not_a_dict(self, tmp_path):
        path = tmp_path / 'list.pth'
        torch.save([torch.ones(1)], path)
        assert 'holds a list instead of a dict' in refusal(path)

    def test_safetensors(self, tmp_path):
        from safetensors.torch import save_file

        path = tmp_path / 'model.safetensors'
        save_file({'w': torch.arange(3.0)}, path)
        assert read_checkpoint(path)['w'].tolist() == [0.0, 1.0, 2.0]
        path.write_bytes(path.read_bytes()[:-4])
        assert 'damaged' in refusal(path)
        path.write_text('<html></html>')
        assert 'web page' in refusal(path)
