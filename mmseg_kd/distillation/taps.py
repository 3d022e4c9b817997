"""Taps: the names of the maps that losses read.

`logits`              the output of the decode head that prediction uses, also in training
`stage1` ... `stageN` the outputs that the backbone has in testing, in order, also in training
`stageN.pre_norm`     of a MiT backbone: the output of stage N before its last LayerNorm; of other
                      backbones: the stage's output
`stageN.attention`    of a MiT backbone of this project: the attention matrix (N, heads, L, L) of
                      stage N's last block, where it is square (stage 4); it is computed only if a
                      loss reads it
any module path       the output of that module, e.g. `decode_head.linear_fuse`

If an in-place activation changes a module's output afterwards, the tap has the changed values.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_kd.errors import UserError, did_you_mean

STAGE = re.compile(r'stage([1-9]\d*)(\.pre_norm)?')
ATTENTION = re.compile(r'stage[1-9]\d*\.attention')

# mmseg's heads that return several outputs, and the index of the one that `predict` uses. A head
# of your own sets the class attribute `logits_index`.
LOGITS_INDEX = {'DAHead': 0, 'DDRHead': 0, 'EncHead': 0, 'IterativeDecodeHead': -1, 'PIDHead': 1}

# mmseg's backbones that also return maps of auxiliary branches in training, and the index of the
# map that they return in testing.
STAGE_INDEX = {'DDRNet': 1, 'PIDNet': 1}


def check_taps(segmentor: nn.Module, names: Iterable[str], whose: str) -> None:
    """Raise UserError when the segmentor lacks a tap; the message lists those that it has."""
    paths = set(dict(segmentor.named_modules())) - {'', 'backbone'}
    backbone = segmentor.backbone
    aliases = getattr(backbone, 'tap_aliases', {})
    # None if the backbone has neither attribute.
    stages = len(getattr(backbone, 'out_indices', ())) or getattr(backbone, 'num_stages', None)
    for name in names:
        stage = STAGE.fullmatch(name)
        if stage and stages is not None and int(stage[1]) > stages:
            reason = f'its backbone has {stages} stages'
        elif name == 'logits' or stage or name in aliases or name in paths:
            continue
        elif ATTENTION.fullmatch(name):
            reason = 'only MixTransformer (mit_b0 to mit_b5) has it, in stages with sr_ratio=1: '
            reason += 'stage4.attention'
        else:
            hint = did_you_mean(name, ['logits', 'stage1', 'stage4', *paths])
            reason = f'{hint} there are logits, stage1 to stageN, stageN.pre_norm and {len(paths)} '
            reason += 'module paths (python tools/misc/list_taps.py CONFIG lists them)'
        raise UserError(f'the {whose} has no tap {name!r}: {reason}')


@contextmanager
def record_taps(segmentor: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Record the named taps of the forward passes that run inside the context.

    Args:
        segmentor: An mmseg segmentor with `backbone` and `decode_head`.
        names: Tap names, as checked by `check_taps`.

    Yields:
        A dict that holds, once the context has ended, one map (N, C, H, W) for each name.
        Tokens (N, H*W, C) come as a map where a backbone stage has that many places; other
        outputs come as they are. Nothing stays attached to the segmentor.

    Raises:
        UserError: A tap was not reached, or gives no tensor; or the head returns several outputs
            and has no `logits_index`.
    """
    names = list(dict.fromkeys(names))
    taps: dict[str, Tensor] = {}
    aliased = _aliased_modules(segmentor.backbone)
    # The backbone is always read: its stages give the grid of tokens.
    modules = {'backbone': segmentor.backbone}
    for name in names:
        if name in aliased or not (name == 'logits' or STAGE.fullmatch(name)):
            modules[name] = aliased.get(name) or segmentor.get_submodule(name)
    head = last_head(segmentor) if 'logits' in names else None
    with _recorded(modules, head) as outputs:
        yield taps
    stages = _stages(segmentor.backbone, outputs.pop('backbone', ()))
    for i, stage in enumerate(stages, start=1):
        outputs = {f'stage{i}': stage, f'stage{i}.pre_norm': stage} | outputs
    for name in names:
        if name not in outputs:
            backbone = f'{type(segmentor.backbone).__name__} has {len(stages)} stages'
            raise UserError(f'the tap {name!r} was not reached in the forward pass; {backbone}')
        taps[name] = _as_map(_tensor(name, outputs[name]), stages)


@contextmanager
def record_features(segmentor: nn.Module) -> Iterator[list[Tensor]]:
    """Record the features through which the gradient of every loss reaches the backbone.

    Yields:
        A list that holds, once the context has ended, the backbone's stages before their last
        normalisation (after it if the backbone has no tap there). Each is the tensor on the
        graph: a map (N, C, H, W) or tokens (N, H*W, C).
    """
    features: list[Tensor] = []
    aliased = _aliased_modules(segmentor.backbone)
    modules = {name: module for name, module in aliased.items() if STAGE.fullmatch(name)}
    with _recorded({'backbone': segmentor.backbone, **modules}) as outputs:
        yield features
    maps = _maps(outputs['backbone'])
    features += [outputs.get(f'stage{i}.pre_norm', x) for i, x in enumerate(maps, start=1)]


def _aliased_modules(backbone: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of a backbone that have a short tap name, by that name."""
    aliases = getattr(backbone, 'tap_aliases', {})
    modules = {name: backbone.get_submodule(path) for name, path in aliases.items()}
    # By name, because the import of mmseg's models takes seconds.
    if 'MixVisionTransformer' in [cls.__name__ for cls in type(backbone).__mro__]:
        for i, layer in enumerate(backbone.out_indices, start=1):
            # A layer has an embedding, blocks and a LayerNorm.
            modules[f'stage{i}.pre_norm'] = backbone.layers[layer][1][-1]
    return modules


def _maps(output: Any) -> tuple[Any, ...]:
    """Return the maps of a backbone's output, without the class tokens that a ViT adds."""
    outputs = (output,) if isinstance(output, Tensor) else tuple(output)
    return tuple(x[0] if isinstance(x, list | tuple) else x for x in outputs)


def _stages(backbone: nn.Module, output: Any) -> tuple[Any, ...]:
    """Return the maps of a backbone without those that it only returns in training."""
    maps, index = _maps(output), _of_class(STAGE_INDEX, backbone)
    return maps if index is None or len(maps) == 1 else (maps[index],)


def _of_class(table: dict[str, int], module: nn.Module) -> int | None:
    """Return the entry of a module's class, or of the nearest base class that has one."""
    return next((table[c.__name__] for c in type(module).__mro__ if c.__name__ in table), None)


@contextmanager
def _recorded(
    modules: dict[str, nn.Module], head: nn.Module | None = None
) -> Iterator[dict[str, Any]]:
    """Record what modules return, by name, and the logits of a head as 'logits'."""
    outputs: dict[str, Any] = {}

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        outputs[name] = module.attention(*inputs) if ATTENTION.fullmatch(name) else output

    def predict(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        outputs['logits'] = _predicted(head, output)
        return output

    with ExitStack() as cleanup:
        if head is not None:
            # The instance may have a forward of its own, for example of activation checkpointing.
            own = {name: value for name, value in vars(head).items() if name == 'forward'}
            cleanup.callback(vars(head).update, own)
            cleanup.callback(vars(head).pop, 'forward')
            # A hook would not do: a head's `loss` calls its forward directly.
            head.forward = partial(predict, head.forward)
        for name, module in modules.items():
            cleanup.callback(module.register_forward_hook(partial(keep, name)).remove)
        yield outputs


def last_head(segmentor: nn.Module) -> nn.Module:
    """Return the head that predicts: the last one of a cascade."""
    head = segmentor.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


def _predicted(head: nn.Module, output: Any) -> Tensor:
    """Return the logits (N, K, H, W) that a head's `predict` uses."""
    if isinstance(output, Tensor):
        return output
    name = type(head).__name__
    index = getattr(head, 'logits_index', _of_class(LOGITS_INDEX, head))
    if index is None or not isinstance(output, list | tuple):
        raise UserError(
            f"the tap 'logits': {name} returns a {type(output).__name__}: set the class attribute "
            f'{name}.logits_index to the index of the logits in it, or choose another tap if it '
            'predicts masks or points'
        )
    return output[index]


def _tensor(name: str, output: Any) -> Tensor:
    """Return the output of a module, the last one where it returns several."""
    if isinstance(output, list | tuple) and output and isinstance(output[-1], Tensor):
        output = output[-1]
    if not isinstance(output, Tensor):
        raise UserError(f'the tap {name!r} gives a {type(output).__name__}, not a tensor')
    return output


def _as_map(x: Tensor, stages: tuple[Any, ...]) -> Tensor:
    if x.ndim == 3:
        for stage in stages:
            if stage.ndim == 4 and x.shape[1] == stage.shape[2] * stage.shape[3]:
                return x.transpose(1, 2).unflatten(2, stage.shape[2:])
    return x


@torch.no_grad()
def list_taps(segmentor: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tap, from one forward pass.

    Args:
        segmentor: An mmseg segmentor.
        images: A batch (N, 3, H, W), normalised.

    Returns:
        Shapes by name, `logits` and the stages first; modules that did not run or give no
        tensor are left out.
    """
    aliased = _aliased_modules(segmentor.backbone)
    modules = aliased | {name: module for name, module in segmentor.named_modules() if name}
    with _recorded(modules, last_head(segmentor)) as outputs:
        segmentor(images, mode='tensor')
    stages = _stages(segmentor.backbone, outputs.pop('backbone'))
    taps = {'logits': outputs['logits']} | {f'stage{i}': x for i, x in enumerate(stages, start=1)}
    taps |= {name: outputs[name] for name in aliased} | outputs
    maps = {name: _as_map(x, stages) for name, x in taps.items() if isinstance(x, Tensor)}
    return {name: tuple(x.shape) for name, x in maps.items()}
