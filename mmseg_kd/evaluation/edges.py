"""Count pixels near the edges between classes, for metrics of edges.

Distances are Chebyshev distances: two pixels that touch at a corner are 1 apart.
"""

import cv2
import numpy as np

IGNORED = 255
# Distance of boundary IoU, as a share of the image's diagonal.
DISTANCE = 0.02
# Distances of the trimaps, in pixels.
BANDS = (1, 3, 5)
JUNCTION_WINDOW = 5


def edge_counts(
    label: np.ndarray, prediction: np.ndarray, num_classes: int, metric: str
) -> dict[str, np.ndarray]:
    """Count the pixels near edges in one image, for an IoU.

    Args:
        label: True ids (H, W), uint8; 255 is not counted.
        prediction: Predicted ids (H, W), uint8.
        num_classes: Number of classes K, at most 254.
        metric: `mBoundaryIoU`, `mTrimapIoU` or `mJunctionIoU`.

    Returns:
        By name (the trimaps have one for each of `BANDS`) the counts (3, K): correctly
        predicted pixels, true pixels and predicted pixels of each class.
    """
    valid = label != IGNORED
    if metric == 'mBoundaryIoU':
        # Void pixels of the label are void in the prediction too.
        prediction = np.where(valid, prediction, IGNORED).astype(np.uint8)
        regions = {metric: (valid & rim(label), valid & rim(prediction))}
    elif metric == 'mTrimapIoU':
        regions = {f'{metric}{width}': (band(label, width),) * 2 for width in BANDS}
    else:
        regions = {metric: (junctions(label),) * 2}
    counts = {}
    for name, (near_label, near_prediction) in regions.items():
        right = near_label & near_prediction & (label == prediction)
        counted = label[right], label[near_label], prediction[near_prediction]
        counts[name] = np.stack([np.bincount(ids, minlength=num_classes) for ids in counted])
    return counts


def rim(ids: np.ndarray) -> np.ndarray:
    """Return which pixels (H, W) are near another class or the border of the image.

    Near is within 2 % of the image's diagonal. For each class these pixels are the inner boundary
    of boundary IoU (Cheng et al., Boundary IoU, CVPR 2021): the mask minus its erosion.
    """
    distance = max(1, round(DISTANCE * float(np.hypot(*ids.shape))))
    outside = cv2.copyMakeBorder(ids, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=IGNORED - 1)
    square = np.ones((2 * distance + 1,) * 2, np.uint8)
    return (cv2.erode(outside, square) != cv2.dilate(outside, square))[1:-1, 1:-1]


def band(label: np.ndarray, width: int) -> np.ndarray:
    """Return which pixels (H, W) are within `width` of another class; void is not a class."""
    valid = label != IGNORED
    square = np.ones((2 * width + 1,) * 2, np.uint8)
    # Void must be neither the smallest nor the greatest id: it is 255 here and 0 in the next line.
    smallest = cv2.erode(label, square)
    greatest = cv2.dilate(np.where(valid, label + 1, 0).astype(np.uint8), square)
    return valid & (greatest != smallest + 1)


def junctions(label: np.ndarray) -> np.ndarray:
    """Return which pixels (H, W) have three or more classes in the 5x5 window around them."""
    valid = label != IGNORED
    square = np.ones((JUNCTION_WINDOW,) * 2, np.uint8)
    near = (cv2.dilate((label == i).astype(np.uint8), square) for i in np.unique(label[valid]))
    return valid & (sum(near, np.zeros_like(label)) >= 3)
