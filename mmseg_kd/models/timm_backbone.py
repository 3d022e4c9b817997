"""timm's models as backbones, with weights from a file."""

from __future__ import annotations

from typing import Any

from mmseg.models.backbones import TIMMBackbone as MMSegTIMMBackbone
from mmseg.registry import MODELS


# In the place of mmseg's, whose `checkpoint_path` timm would load.
@MODELS.register_module(force=True)
class TIMMBackbone(MMSegTIMMBackbone):
    """mmseg's `TIMMBackbone`; a file is read as data and may be of the full model or of a part.

    Args:
        pretrained: True downloads timm's weights, a string names a file.
        checkpoint_path: Another name for such a file.
        **kwargs: The other arguments of mmseg's class and of `timm.create_model`.
    """

    def __init__(
        self, pretrained: bool | str | None = True, checkpoint_path: str = '', **kwargs: Any
    ) -> None:
        file = checkpoint_path or (pretrained if isinstance(pretrained, str) else '')
        if file:
            pretrained, kwargs['init_cfg'] = False, dict(type='Pretrained', checkpoint=file)
        super().__init__(pretrained=bool(pretrained), **kwargs)
