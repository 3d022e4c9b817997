from __future__ import annotations

import pytest
import torch
from mit_files import LAYOUTS, Backbone, assert_same, nvlabs_tensors, to_hugging_face

from mmseg_kd.checkpoints import load_pretrained
from mmseg_kd.errors import UserError


class TestLoadPretrained:
    def refusal(self, backbone, path, **kwargs) -> str:
        with pytest.raises(UserError) as caught:
            load_pretrained(backbone, path, **kwargs)
        assert all(not value.any() for value in backbone.state_dict().values())
        assert '\n' not in str(caught.value)
        return str(caught.value)

    @pytest.mark.parametrize('layout', LAYOUTS)
    def test_report(self, tmp_path, layout):
        tensors = nvlabs_tensors('B0')
        path = tmp_path / 'mit_b0.pth'
        torch.save({'state_dict': LAYOUTS[layout](tensors)}, path)
        backbone = Backbone(tensors)
        report = load_pretrained(backbone, path)
        assert report == f'{path}: matched 176/176 tensors of the backbone'
        assert_same(backbone.state_dict(), tensors)

    def test_wrong_variant(self, tmp_path):
        path = tmp_path / 'mit_b2.pth'
        torch.save(nvlabs_tensors('B2'), path)
        message = self.refusal(Backbone(nvlabs_tensors('B0')), path)
        assert 'mit_b2.pth does not fit Backbone: 0 of 176 tensors match; ' in message
        assert '(patch_embed1.proj.weight (64, 3, 7, 7) for (32, 3, 7, 7), ' in message

    def test_part_of_it(self, tmp_path):
        path = tmp_path / 'part.pth'
        tensors = dict(nvlabs_tensors('tiny'))
        del tensors['norm4.weight']
        tensors['block1.0.attn.extra.weight'] = torch.ones(3)
        torch.save(tensors, path)
        backbone = Backbone(nvlabs_tensors('tiny'))
        total = len(nvlabs_tensors('tiny'))
        difference = 'missing 1 (norm4.weight), unexpected 1 (block1.0.attn.extra.weight)'
        refusal = self.refusal(backbone, path)
        assert refusal.endswith(f'{total - 1} of {total} tensors match; {difference}')
        report = load_pretrained(backbone, path, strict=False)
        assert report.endswith(f'matched {total - 1}/{total} tensors, {difference} of the backbone')
        own = backbone.state_dict()
        assert not own.pop('norm4.weight').any()
        assert_same(own, {key: nvlabs_tensors('tiny')[key] for key in own})

    def test_deeper_file_is_refused(self, tmp_path):
        path = tmp_path / 'deep.pth'
        torch.save(nvlabs_tensors('tiny'), path)
        shallow = {k: v for k, v in nvlabs_tensors('tiny').items() if not k.startswith('block2.1.')}
        message = self.refusal(Backbone(shallow), path)
        assert message.endswith(
            'unexpected 20 (block2.1.norm1.weight, block2.1.norm1.bias, '
            'block2.1.attn.q.weight, ...)'
        )

    def test_nothing_matches(self, tmp_path):
        path = tmp_path / 'mit_b0.pth'
        torch.save({'patch_embed1.proj.weight': torch.ones(3)}, path)
        message = self.refusal(Backbone(nvlabs_tensors('tiny')), path, strict=False)
        assert f'0 of {len(nvlabs_tensors("tiny"))} tensors match; ' in message

    def test_missing_file(self, tmp_path):
        message = self.refusal(Backbone({'w.weight': torch.ones(1)}), tmp_path / 'mit_b0.pth')
        for part in ('mit_b0_20220624-7e0fe6dd.pth', 'nvidia/mit-b0', 'non-commercial'):
            assert part in message
        assert message.endswith('--cfg-options model.pretrained=None')

    def test_safetensors(self, tmp_path):
        from safetensors.torch import save_file

        tensors = nvlabs_tensors('tiny')
        path = tmp_path / 'model.safetensors'
        source = {f'segformer.encoder.{k}': v for k, v in to_hugging_face(tensors, 4).items()}
        save_file({key: value.contiguous() for key, value in source.items()}, path)
        backbone = Backbone(tensors)
        load_pretrained(backbone, path)
        assert_same(backbone.state_dict(), tensors)
