import math
import re

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmseg.models import MixVisionTransformer
from mmseg.registry import MODELS

from mmseg_kd.checkpoints.mit_layouts import to_nvlabs
from mmseg_kd.errors import UserError
from mmseg_kd.models.mit import VARIANTS
from mmseg_kd.models.mit_blocks import Block

# Table 6 of the paper's appendix counts encoder and head; these are the encoders alone.
PARAMETERS = {'mit_b0': 3_319_392, 'mit_b1': 13_151_424, 'mit_b2': 24_196_288}
TENSORS = {'mit_b0': 176, 'mit_b1': 176, 'mit_b2': 332}


@pytest.mark.parametrize('name', VARIANTS)
def test_every_variant_is_registered(name: str) -> None:
    with torch.device('meta'):
        backbone = MODELS.build(dict(type=name))
    assert sum(len(getattr(backbone, f'block{i}')) for i in (1, 2, 3, 4)) == sum(VARIANTS[name][1])
    if name in PARAMETERS:
        assert sum(p.numel() for p in backbone.parameters()) == PARAMETERS[name]
        assert len(backbone.state_dict()) == TENSORS[name]


def test_same_function_as_mmseg_from_its_weights() -> None:
    dims, depths = (8, 16, 16, 32), (1, 2, 1, 1)
    theirs = MixVisionTransformer(
        embed_dims=8,
        num_layers=list(depths),
        num_heads=[1, 2, 2, 4],
        patch_sizes=[7, 3, 3, 3],
        sr_ratios=[8, 4, 2, 1],
        out_indices=(0, 1, 2, 3),
        mlp_ratio=4,
        qkv_bias=True,
        drop_path_rate=0.0,
    )
    ours = MODELS.build(
        dict(type='MixTransformer', embed_dims=dims, depths=depths, num_heads=(1, 2, 2, 4))
    ).eval()
    theirs.eval()
    # mmseg has eps 1e-6 in every norm, the authors 1e-5 in some.
    for name, module in theirs.named_modules():
        inside = re.fullmatch(r'layers\.\d\.(0\.norm|1\.\d\.attn\.norm)', name)
        if isinstance(module, torch.nn.LayerNorm) and inside:
            module.eps = 1e-5
    ours.load_state_dict(to_nvlabs(theirs.state_dict()))
    images = torch.randn(2, 3, 75, 90)
    with torch.no_grad():
        for got, expected in zip(ours(images), theirs(images), strict=True):
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('size', [(32, 32), (33, 47), (101, 64)])
def test_any_size(size: tuple[int, int]) -> None:
    backbone = MODELS.build(
        dict(type='MixTransformer', embed_dims=(8,) * 4, depths=(1,) * 4, num_heads=(1,) * 4)
    )
    outputs = backbone(torch.randn(1, 3, *size))
    for x, stride in zip(outputs, (4, 8, 16, 32), strict=True):
        assert tuple(x.shape[2:]) == tuple(math.ceil(s / stride) for s in size)


def test_too_small_an_image_is_named() -> None:
    with pytest.raises(UserError, match='at least 32 pixels a side, not 31x64'):
        MODELS.build(dict(type='mit_b0'))(torch.randn(1, 3, 31, 64))


def test_published_initialisation() -> None:
    torch.manual_seed(0)
    backbone = MODELS.build(dict(type='mit_b0'))
    backbone._dump_init_info = lambda: None
    backbone.init_weights()
    assert float(backbone.block4[0].mlp.fc1.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    # He initialisation by the fan out: 3x3 kernels on 256 channels, and one a channel if depthwise.
    conv = backbone.patch_embed4.proj.weight.detach()
    assert float(conv.std()) == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.02)
    depthwise = backbone.block4[0].mlp.dwconv.dwconv.weight.detach()
    assert float(depthwise.std()) == pytest.approx(math.sqrt(2 / 9), rel=0.02)
    assert float(backbone.block1[0].attn.q.bias.detach().abs().max()) == 0


def test_drop_path_grows_linearly() -> None:
    backbone = MODELS.build(dict(type='mit_b0', drop_path_rate=0.14))
    blocks = [block for i in (1, 2, 3, 4) for block in getattr(backbone, f'block{i}')]
    rates = [block.drop_path_rate for block in blocks]
    assert rates == pytest.approx([0.02 * i for i in range(8)])


@pytest.mark.parametrize('rate', [0.0, 0.4])
def test_dropped_branches_are_those_of_mmcv(rate: float) -> None:
    block = Block(8, 1, 4, 1, True, rate).double().train()
    x, branch = torch.randn(2, 64, 5, 8, dtype=torch.float64).unbind()
    torch.manual_seed(0)
    expected = x + DropPath(rate)(branch)
    torch.manual_seed(0)
    torch.testing.assert_close(block._add(x, branch), expected, atol=1e-12, rtol=1e-12)
    assert torch.equal(block.eval()._add(x, branch), x + branch)
