"""timm's models as backbones, with weights from a file."""

from typing import Any

from mmseg.models.backbones import TIMMBackbone as MMSegTIMMBackbone
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.errors import UserError, one_line


# Replaces mmseg's class, in which timm itself would read `checkpoint_path`.
@MODELS.register_module(force=True)
class TIMMBackbone(MMSegTIMMBackbone):
    """mmseg's `TIMMBackbone`, for CNNs and transformers.

    A checkpoint is read as data, without running its code, and may have the full model or a part.
    The features of every model are (N, C, H, W), also if timm returns (N, H, W, C).

    Args:
        pretrained: True downloads timm's weights; a string is the path of a file.
        checkpoint_path: The path of a file, instead of `pretrained`.
        **kwargs: The other arguments of mmseg's class and of `timm.create_model`.
    """

    def __init__(
        self, pretrained: bool | str | None = True, checkpoint_path: str = '', **kwargs: Any
    ) -> None:
        file = checkpoint_path or (pretrained if isinstance(pretrained, str) else '')
        if file:
            pretrained, kwargs['init_cfg'] = False, dict(type='Pretrained', checkpoint=file)
        super().__init__(pretrained=bool(pretrained), **kwargs)
        self.name = kwargs['model_name']

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features of images (N, 3, H, W), one map (N, C_i, H_i, W_i) per stage.

        Raises:
            UserError: The model accepts only images of another size.
        """
        try:
            features = super().forward(x)
        except AssertionError as error:
            # timm checks the size of its images by assertions.
            raise UserError(
                f'{self.name} cannot take images of {tuple(x.shape[2:])} '
                f'({one_line(error, 90)}); see the table of docs/any_model.md'
            ) from error
        if getattr(self.timm_model, 'output_fmt', 'NCHW') == 'NHWC':
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        return features
