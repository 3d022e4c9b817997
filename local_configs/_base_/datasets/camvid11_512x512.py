# The standard protocol: 11 classes, Unlabelled becomes 255 and is ignored.
_base_ = './camvid_512x512.py'
_classes = [
    'Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree',
    'SignSymbol', 'Fence', 'Car', 'Pedestrian', 'Bicyclist',
]  # fmt: skip
train_dataloader = dict(dataset=dict(metainfo=dict(classes=_classes)))
val_dataloader = dict(dataset=dict(metainfo=dict(classes=_classes)))
test_dataloader = dict(dataset=dict(metainfo=dict(classes=_classes)))
