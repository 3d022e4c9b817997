"""The twelve CamVid classes in SegNet's id order with its colours, and the original 32 colours."""

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
# Name: (colour, id in the merge protocol), in the alphabetical order of class_dict.csv.
COLOURS: dict[str, tuple[tuple[int, int, int], int]] = {
    'Animal': ((64, 128, 64), 9),                 'Archway': ((192, 0, 128), 1),
    'Bicyclist': ((0, 128, 192), 10),             'Bridge': ((0, 128, 64), 1),
    'Building': ((128, 0, 0), 1),                 'Car': ((64, 0, 128), 8),
    'CartLuggagePram': ((64, 0, 192), 9),         'Child': ((192, 128, 64), 9),
    'Column_Pole': ((192, 192, 128), 2),          'Fence': ((64, 64, 128), 7),
    'LaneMkgsDriv': ((128, 0, 192), 3),           'LaneMkgsNonDriv': ((192, 0, 64), 3),
    'Misc_Text': ((128, 128, 64), 6),             'MotorcycleScooter': ((192, 0, 192), 10),
    'OtherMoving': ((128, 64, 64), 8),            'ParkingBlock': ((64, 192, 128), 4),
    'Pedestrian': ((64, 64, 0), 9),               'Road': ((128, 64, 128), 3),
    'RoadShoulder': ((128, 128, 192), 4),         'Sidewalk': ((0, 0, 192), 4),
    'SignSymbol': ((192, 128, 128), 6),           'Sky': ((128, 128, 128), 0),
    'SUVPickupTruck': ((64, 128, 192), 8),        'TrafficCone': ((0, 0, 64), 2),
    'TrafficLight': ((0, 64, 64), 6),             'Train': ((192, 64, 128), 8),
    'Tree': ((128, 128, 0), 5),                   'Truck_Bus': ((192, 128, 192), 8),
    'Tunnel': ((64, 0, 64), 1),                   'VegetationMisc': ((192, 192, 0), 5),
    'Void': ((0, 0, 0), UNLABELLED),              'Wall': ((64, 192, 0), 1),
}  # fmt: skip
# The names that are classes themselves; Column_Pole and Sidewalk are the classes Pole and Pavement.
# The ignore protocol keeps only these.
NAMESAKES = {'Column_Pole', 'Sidewalk'} | (COLOURS.keys() & set(CLASSES))
PROTOCOLS = ('merge', 'ignore')


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


def merged_id(name: str, protocol: str) -> int:
    """Return the class id of one of the 32 names, or `UNLABELLED` if the protocol drops it."""
    kept = protocol == 'merge' or name in NAMESAKES
    return COLOURS[name][1] if kept else UNLABELLED
