"""The twelve CamVid classes in SegNet's id order, with SegNet's colours."""

from collections.abc import Sequence

from mmseg_kd.errors import UserError

CLASSES = (
    'Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree',
    'SignSymbol', 'Fence', 'Car', 'Pedestrian', 'Bicyclist', 'Unlabelled',
)  # fmt: skip
PALETTE = [
    [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0],
    [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192], [0, 0, 0],
]  # fmt: skip
UNLABELLED = CLASSES.index('Unlabelled')


class CamVidClasses:
    """Mixin for a `BaseSegDataset` with CamVid's labels.

    `metainfo=dict(classes=...)` chooses a subset; the other classes become 255.
    """

    METAINFO: dict = dict(classes=CLASSES, palette=PALETTE)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Return the new id of each old id, or None if all classes are kept."""
        if new_classes and len(set(new_classes)) < len(new_classes):
            raise UserError(f'dataset.metainfo.classes: {tuple(new_classes)} has a class twice')
        return super().get_label_map(new_classes)
