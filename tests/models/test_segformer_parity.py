"""MiT and SegFormerHead against the independent implementation in transformers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from mmseg_kd.checkpoints import load_strictly
from mmseg_kd.checkpoints.mit_layouts import to_nvlabs

EMBED_DIM = {'mit_b0': 256, 'mit_b2': 768}


def build_ours(backbone: str) -> torch.nn.Module:
    from mmseg_kd.models.mit import VARIANTS

    return MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=dict(type=backbone, drop_path_rate=0.0),
            decode_head=dict(
                type='SegFormerHead',
                in_channels=VARIANTS[backbone][0],
                embed_dim=EMBED_DIM[backbone],
                dropout_ratio=0.0,
                num_classes=12,
                norm_cfg=dict(type='BN', requires_grad=True),
                loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
            ),
            test_cfg=dict(mode='whole'),
        )
    )


def build_theirs(backbone: str) -> torch.nn.Module:
    from mmseg_kd.models.mit import VARIANTS

    dims, depths = VARIANTS[backbone]
    config = SegformerConfig(
        depths=list(depths),
        hidden_sizes=list(dims),
        decoder_hidden_size=EMBED_DIM[backbone],
        num_labels=12,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = SegformerForSemanticSegmentation(config)
    # transformers keeps torch's eps in blocks and stages, the authors have 1e-6 there.
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm) and not (
            'patch_embeddings' in name or 'sequence_reduction' in name
        ):
            module.eps = 1e-6
    return model


def head_names(state_dict: dict) -> dict:
    """Name transformers' head as published."""
    renamed = {}
    for key, value in state_dict.items():
        if not key.startswith('decode_head.'):
            continue
        for i in range(4):
            key = key.replace(f'linear_projections.{i}.proj', f'linear_c{i + 1}.proj')
            key = key.replace(f'linear_c.{i}.proj', f'linear_c{i + 1}.proj')
        key = key.replace('decode_head.linear_fuse.', 'decode_head.linear_fuse.conv.')
        key = key.replace('batch_norm', 'linear_fuse.bn').replace('classifier', 'linear_pred')
        renamed[key] = value
    return renamed


def randomise(model: torch.nn.Module) -> None:
    """Weights of every tensor away from its initial value, so that none can be confused."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator) - 0.5
            if 'var' in name:
                tensor.copy_(noise + 1)
            elif tensor.ndim == 1:
                tensor.add_(noise * 0.2)
            else:
                tensor.add_(noise * 2 / tensor[0].numel() ** 0.5)


@pytest.fixture(scope='module', params=['mit_b0', 'mit_b2'])
def pair(request: pytest.FixtureRequest) -> tuple:
    theirs = build_theirs(request.param)
    randomise(theirs)
    ours = build_ours(request.param)
    backbone = to_nvlabs(theirs.segformer.state_dict())
    state_dict = {f'backbone.{key}': value for key, value in backbone.items()}
    state_dict |= head_names(theirs.state_dict())
    load_strictly(ours, state_dict, source='transformers')
    return ours, theirs


@pytest.mark.parametrize('size', [(64, 96), (75, 101)])
def test_logits_match(pair: tuple, size: tuple[int, int]) -> None:
    ours, theirs = (model.eval() for model in pair)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = ours(images, mode='tensor')
        expected = theirs(images).logits
    assert logits.shape == expected.shape
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_train_mode_gradients_match(pair: tuple) -> None:
    # In float64: what remains is the formula, not the order of summation.
    ours, theirs = (copy.deepcopy(model).train().double() for model in pair)
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(2, 3, 64, 64, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 12, (2, 64, 64), generator=generator)

    def gradients(model: torch.nn.Module, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = F.interpolate(logits, (64, 64), mode='bilinear', align_corners=False)
        model.zero_grad()
        F.cross_entropy(logits, labels).backward()
        return {name: p.grad for name, p in model.named_parameters()}

    got = gradients(ours, ours(images, mode='tensor'))
    reference = gradients(theirs, theirs(images).logits)
    expected = {
        f'backbone.{key}': value
        for key, value in to_nvlabs(
            {k[len('segformer.') :]: v for k, v in reference.items() if 'segformer.' in k}
        ).items()
    }
    expected |= head_names(reference)
    assert got.keys() == expected.keys()
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-10, rtol=1e-6, msg=name)
