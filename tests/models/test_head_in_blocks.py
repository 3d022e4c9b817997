"""The head by blocks of channels against the head as it is written."""

import copy

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_kd.models import SegFormerHead, segformer_head

CHANNELS = (8, 12, 20, 32)


def make_head(blocked: bool = True, dropout_ratio: float = 0.3, **kwargs: object) -> SegFormerHead:
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            type='SegFormerHead',
            in_channels=CHANNELS,
            embed_dim=40,
            num_classes=5,
            dropout_ratio=dropout_ratio,
            norm_cfg=dict(type='BN'),
            blocked=blocked,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
            **kwargs,
        )
    ).double()
    for p in head.parameters():
        nn.init.normal_(p)
    head.linear_fuse.bn.running_mean.normal_()
    head.linear_fuse.bn.running_var.uniform_(0.5, 2)
    return head


def make_features(sizes: tuple[int, ...] = (16, 8, 4, 2)) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [
        torch.randn(3, c, s, s + 1, dtype=torch.float64)
        for c, s in zip(CHANNELS, sizes, strict=True)
    ]


@pytest.fixture(autouse=True, params=[1, 10**9], ids=['narrow blocks', 'one block'])
def block_width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segformer_head, 'BLOCK_ELEMENTS', request.param)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each run in blocks, whether it was in training."""
    ran: list[bool] = []

    in_blocks = SegFormerHead._in_blocks

    def spy(head: SegFormerHead, *args: object) -> torch.Tensor:
        ran.append(head.training)
        return in_blocks(head, *args)

    monkeypatch.setattr(SegFormerHead, '_in_blocks', spy)
    return ran


@pytest.mark.parametrize('sizes', [(16, 8, 4, 2), (19, 10, 5, 3)], ids=['even', 'odd'])
@pytest.mark.parametrize('dropout_ratio', [0.0, 0.3])
def test_training(sizes: tuple[int, ...], dropout_ratio: float, calls: list[bool]) -> None:
    results = []
    for blocked in (True, False):
        head = make_head(blocked, dropout_ratio)
        inputs = [x.requires_grad_() for x in make_features(sizes)]
        torch.manual_seed(2)
        logits = head(inputs)
        torch.manual_seed(3)
        (logits * torch.randn(logits.shape, dtype=logits.dtype)).sum().backward()
        grads = {name: p.grad for name, p in head.named_parameters()}
        grads |= {f'level {i}': x.grad for i, x in enumerate(inputs)}
        results.append((logits, grads, dict(head.named_buffers())))
    assert calls == [True]
    torch.testing.assert_close(*results, atol=1e-10, rtol=1e-10)


def test_inference(calls: list[bool]) -> None:
    with torch.no_grad():
        logits = make_head().eval()(make_features())
        expected = make_head(blocked=False).eval()(make_features())
    assert calls == [False]
    torch.testing.assert_close(logits, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize('mode', [True, False], ids=['training', 'inference'])
def test_bfloat16_is_as_near_the_truth_as_it_is_unblocked(mode: bool) -> None:
    def run(blocked: bool, autocast: bool) -> list[torch.Tensor]:
        head = make_head(blocked, dropout_ratio=0.0).float().train(mode)
        inputs = [x.float().requires_grad_() for x in make_features()]
        with torch.set_grad_enabled(mode), torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            logits = head(inputs)
        if not mode:
            return [logits.float()]
        logits.float().square().mean().backward()
        return [logits.float(), inputs[0].grad, head.linear_c3.proj.weight.grad]

    truth = run(blocked=False, autocast=False)
    for ours, plain, true in zip(run(True, True), run(False, True), truth, strict=True):
        assert (ours - true).norm() < 1.2 * (plain - true).norm()


@pytest.mark.parametrize(
    ('change', 'in_blocks'),
    [
        (lambda head: head.linear_fuse.register_forward_hook(lambda *_: None), False),
        (lambda head: head.linear_pred.register_full_backward_hook(lambda *_: None), False),
        (lambda head: setattr(head.linear_fuse, 'bn', nn.GroupNorm(4, 40).double()), False),
        (lambda head: setattr(head.linear_fuse.bn, 'momentum', None), False),
        (lambda head: head.linear_fuse.bn.eval(), True),
        (lambda head: setattr(head.linear_fuse, 'activate', nn.GELU()), True),
        (lambda head: setattr(head.linear_fuse, 'align_corners', True), True),
    ],
    ids=[
        'tap in the head', 'hook backward', 'another norm', 'mean of all batches', 'frozen norm',
        'another activation', 'aligned corners',
    ],
)  # fmt: skip
def test_other_heads(change: object, in_blocks: bool, calls: list[bool]) -> None:
    head = make_head(dropout_ratio=0.0)
    change(head)
    plain = copy.deepcopy(head)
    plain.blocked = False
    torch.testing.assert_close(head(make_features()), plain(make_features()))
    assert len(calls) == in_blocks


def test_one_place_leaves_the_bias_alone() -> None:
    head = make_head().eval()
    before = head.linear_pred.bias.detach().clone()
    with torch.no_grad():
        head([torch.randn(1, c, 1, 1, dtype=torch.float64) for c in CHANNELS])
    assert torch.equal(head.linear_pred.bias, before)
