"""Mix Transformer (MiT) backbones, B0 to B5.

SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers,
Xie et al., NeurIPS 2021, https://arxiv.org/abs/2105.15203. Written from the paper;
parameter names are those of the published checkpoints, so that they load as they are.
"""

import math
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule, normal_init, trunc_normal_init
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.checkpoints import load_pretrained
from mmseg_kd.errors import UserError
from mmseg_kd.models.launches import LayerNorm
from mmseg_kd.models.mit_blocks import BLOCK_NORM_EPS, Block, OverlapPatchEmbed, to_map

# Stage 1 reduces its keys by 8 at stride 4, so a smaller image has no keys.
SMALLEST_SIDE = 32


@MODELS.register_module()
class MixTransformer(BaseModule):
    """Four stages of transformer blocks at strides 4, 8, 16 and 32.

    Args:
        embed_dims: Channels of each stage.
        depths: Blocks of each stage.
        num_heads: Attention heads of each stage.
        mlp_ratios: Hidden width of the Mix-FFN divided by the stage's width.
        sr_ratios: Spatial reduction of keys and values, per side.
        qkv_bias: Whether the query, key and value projections have a bias.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        in_channels: Channels of the image.
        pretrained: ImageNet weights in one of the four published layouts (see
            `mmseg_kd.checkpoints.load_pretrained`), or None to train from scratch.

    Raises:
        UserError: A list is shorter than `depths` or has a number that is not above 0, or the
            number of heads does not divide the width; from `init_weights`: `pretrained` is missing
            or does not fit.
    """

    def __init__(
        self,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[float] = (4, 4, 4, 4),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        qkv_bias: bool = True,
        drop_path_rate: float = 0.1,
        in_channels: int = 3,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.num_stages = len(depths)
        lists = dict(embed_dims=embed_dims, depths=depths, num_heads=num_heads)
        for name, values in (lists | dict(mlp_ratios=mlp_ratios, sr_ratios=sr_ratios)).items():
            if len(values) < self.num_stages or min(values) <= 0:
                raise UserError(
                    f'MixTransformer: {name}={tuple(values)} is not a number above 0 for each of '
                    f'{self.num_stages} stages'
                )
        for width, heads in zip(embed_dims, num_heads, strict=False):
            if width % heads:
                raise UserError(f'MixTransformer: num_heads={heads} does not divide width {width}')
        rates = [drop_path_rate * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        for i in range(self.num_stages):
            source = embed_dims[i - 1] if i else in_channels
            patch_size, stride = (3, 2) if i else (7, 4)
            first = sum(depths[:i])
            blocks = nn.ModuleList(
                Block(embed_dims[i], num_heads[i], mlp_ratios[i], sr_ratios[i], qkv_bias, rate)
                for rate in rates[first : first + depths[i]]
            )
            embed = OverlapPatchEmbed(source, embed_dims[i], patch_size, stride)
            self.add_module(f'patch_embed{i + 1}', embed)
            self.add_module(f'block{i + 1}', blocks)
            self.add_module(f'norm{i + 1}', LayerNorm(embed_dims[i], eps=BLOCK_NORM_EPS))

    @property
    def tap_aliases(self) -> dict[str, str]:
        """The modules of the short tap names: for each the last block of its stage.

        `stageN.pre_norm` is the block's output, before the stage's LayerNorm. `stageN.attention` is
        the block's attention matrix, in stages with as many keys as queries (sr_ratio=1).
        """
        last = {i: len(getattr(self, f'block{i}')) - 1 for i in range(1, self.num_stages + 1)}
        square = [i for i in last if getattr(self, f'block{i}')[last[i]].attn.sr_ratio == 1]
        names = [(i, 'pre_norm') for i in last] + [(i, 'attention') for i in square]
        return {f'stage{i}.{name}': f'block{i}.{last[i]}' for i, name in names}

    def init_weights(self) -> None:
        """Initialise as published, then load `pretrained` if it is given."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_init(module, std=0.02)
            elif isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                normal_init(module, std=math.sqrt(2 / fan_out))
        if self.pretrained is not None:
            print_log(load_pretrained(self, self.pretrained), logger='current')

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the four stage outputs.

        Args:
            x: Images (N, 3, H, W), normalised; H and W are at least 32, odd or even.

        Returns:
            Maps (N, C_i, ceil(H / s_i), ceil(W / s_i)) for strides s_i = 4, 8, 16, 32.

        Raises:
            UserError: The images are smaller.
        """
        if min(x.shape[2:]) < SMALLEST_SIDE:
            raise UserError(
                f'MixTransformer needs images of at least {SMALLEST_SIDE} pixels a side, not '
                f'{x.shape[2]}x{x.shape[3]}: to pad those of a test, write '
                f'model.data_preprocessor.test_cfg.size_divisor={SMALLEST_SIDE}'
            )
        outputs = []
        for i in range(1, self.num_stages + 1):
            x, height, width = getattr(self, f'patch_embed{i}')(x)
            for block in getattr(self, f'block{i}'):
                x = block(x, height, width)
            x = to_map(getattr(self, f'norm{i}')(x), height, width)
            outputs.append(x)
        return tuple(outputs)


# Widths and depths of the stages, by the variant's name.
VARIANTS: dict[str, tuple[Sequence[int], Sequence[int]]] = {}


class PublishedMiT(MixTransformer):
    """A `MixTransformer` in one of the sizes of the paper; takes its other keys."""

    sizes: tuple[Sequence[int], Sequence[int]]

    def __init_subclass__(
        cls, depths: Sequence[int] = (), embed_dims: Sequence[int] = (64, 128, 320, 512)
    ) -> None:
        # A subclass of a variant inherits the size.
        if depths:
            cls.sizes = VARIANTS[cls.__name__] = embed_dims, depths
            MODELS.register_module(module=cls)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(*self.sizes, **kwargs)


class mit_b0(PublishedMiT, depths=(2, 2, 2, 2), embed_dims=(32, 64, 160, 256)):
    """MiT-B0, 3.3 million parameters."""


class mit_b1(PublishedMiT, depths=(2, 2, 2, 2)):
    """MiT-B1, 13.2 million parameters."""


class mit_b2(PublishedMiT, depths=(3, 4, 6, 3)):
    """MiT-B2, 24.2 million parameters."""


class mit_b3(PublishedMiT, depths=(3, 4, 18, 3)):
    """MiT-B3, 44.1 million parameters."""


class mit_b4(PublishedMiT, depths=(3, 8, 27, 3)):
    """MiT-B4, 60.8 million parameters."""


class mit_b5(PublishedMiT, depths=(3, 6, 40, 3)):
    """MiT-B5, 81.4 million parameters."""
