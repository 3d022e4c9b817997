"""Few parameter groups instead of one a parameter."""

from __future__ import annotations

from mmengine.optim import DefaultOptimWrapperConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with parameters of equal settings in one group.

    With `paramwise_cfg` mmengine makes a group of every parameter, and optimizer and schedulers
    work group by group: hundreds of small updates instead of a few large ones. Each parameter
    keeps its settings, so the training is the same.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: bool | None = None,
    ) -> None:
        """Add the groups of a module; those of the whole model, which has no prefix, merged."""
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = merge_groups(params)


def merge_groups(groups: list[dict]) -> list[dict]:
    """Merge parameter groups that differ in their `params` alone, in order of appearance."""
    merged: dict[str, dict] = {}
    for group in groups:
        settings = {key: value for key, value in sorted(group.items()) if key != 'params'}
        into = merged.setdefault(repr(settings), {'params': [], **settings})
        into['params'] += group['params']
    return list(merged.values())
