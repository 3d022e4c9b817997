"""The head by blocks of channels against the head as it is written."""

import copy

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_kd.models import SegFormerHead, blocked_fusion

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
    monkeypatch.setattr(blocked_fusion, 'BLOCK_ELEMENTS', request.param)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the blocked functions that ran."""
    ran: list[str] = []
    for name in ('infer', 'fuse_and_classify'):
        function = getattr(blocked_fusion, name)

        def spy(*args: object, name: str = name, function: object = function) -> torch.Tensor:
            ran.append(name)
            return function(*args)

        monkeypatch.setattr(f'mmseg_kd.models.segformer_head.{name}', spy)
    return ran


@pytest.mark.parametrize('sizes', [(16, 8, 4, 2), (19, 10, 5, 3)], ids=['even', 'odd'])
@pytest.mark.parametrize('dropout_ratio', [0.0, 0.3])
def test_training(sizes: tuple[int, ...], dropout_ratio: float, calls: list[str]) -> None:
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
    assert calls == ['fuse_and_classify']
    torch.testing.assert_close(*results, atol=1e-10, rtol=1e-10)


def test_inference(calls: list[str]) -> None:
    with torch.no_grad():
        logits = make_head().eval()(make_features())
        expected = make_head(blocked=False).eval()(make_features())
    assert calls == ['infer']
    torch.testing.assert_close(logits, expected, atol=1e-10, rtol=1e-10)


def change_by_step(head: SegFormerHead) -> None:
    for p in head.parameters():
        p.grad = torch.ones_like(p)
    torch.optim.SGD(head.parameters(), lr=0.1).step()


def change_by_loading(head: SegFormerHead) -> None:
    head.load_state_dict({k: v + 1 for k, v in head.state_dict().items()})


def change_one_level_by_loading(head: SegFormerHead) -> None:
    level = head.linear_c2
    level.load_state_dict({k: v + 1 for k, v in level.state_dict().items()})


def change_statistics(head: SegFormerHead) -> None:
    head.linear_fuse.bn.running_mean.add_(1)


def change_as_an_averaging_hook_does(head: SegFormerHead) -> None:
    # mmengine's EMAHook writes to .data, which counts no versions, and calls eval() after.
    for p in head.parameters():
        p.data.copy_(p.data + 1)
    head.eval()


def change_dtype(head: SegFormerHead) -> None:
    head.float().double()


@pytest.mark.parametrize(
    'change',
    [
        change_by_step,
        change_by_loading,
        change_one_level_by_loading,
        change_statistics,
        change_as_an_averaging_hook_does,
        change_dtype,
    ],
)
def test_what_was_folded_is_never_stale(change: object) -> None:
    head = make_head().eval()
    features = make_features()
    with torch.no_grad():
        head(features)
    change(head)
    with torch.no_grad():
        logits = head(features)
        head.blocked = False
        torch.testing.assert_close(logits, head(features), atol=1e-10, rtol=1e-10)


def test_folded_once() -> None:
    head = make_head().eval()
    with torch.no_grad():
        head(make_features())
        kept = head._fold_of
        head(make_features())
    assert head._fold_of is kept
    assert copy.deepcopy(head).train()._fold_of is None


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
    'change',
    [
        lambda head: head.linear_fuse.register_forward_hook(lambda *_: None),
        lambda head: head.linear_pred.register_full_backward_hook(lambda *_: None),
        lambda head: head.linear_fuse.bn.eval(),
        lambda head: setattr(head.linear_fuse, 'activate', nn.GELU()),
        lambda head: setattr(head.linear_fuse, 'bn', nn.GroupNorm(4, 40).double()),
    ],
    ids=['tap in the head', 'hook backward', 'frozen norm', 'another activation', 'another norm'],
)
def test_where_it_does_not_apply_the_head_runs_as_written(change: object, calls: list[str]) -> None:
    head = make_head(dropout_ratio=0.0)
    change(head)
    plain = copy.deepcopy(head)
    plain.blocked = False
    torch.testing.assert_close(head(make_features()), plain(make_features()))
    assert calls == []


def test_one_place_leaves_the_bias_alone() -> None:
    head = make_head().eval()
    before = head.linear_pred.bias.detach().clone()
    with torch.no_grad():
        head([torch.randn(1, c, 1, 1, dtype=torch.float64) for c in CHANNELS])
    assert torch.equal(head.linear_pred.bias, before)
