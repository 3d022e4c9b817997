"""The twelve CamVid classes in SegNet's id order, with SegNet's colours."""

CLASSES = (
    'Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree',
    'SignSymbol', 'Fence', 'Car', 'Pedestrian', 'Bicyclist', 'Unlabelled',
)  # fmt: skip
PALETTE = [
    [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0],
    [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192], [0, 0, 0],
]  # fmt: skip
UNLABELLED = CLASSES.index('Unlabelled')
METAINFO = dict(classes=CLASSES, palette=PALETTE)
