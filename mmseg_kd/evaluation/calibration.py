"""Entropy and calibration of a model's probabilities."""

import torch
from torch import Tensor

# As in Guo et al., see `summarise`.
BINS = 15


def probabilities(logits: Tensor) -> Tensor:
    """Return the probability of each class (K, H, W).

    Args:
        logits: Logits (K, H, W). With K = 1 mmseg gives the probability of the second of two
            classes instead.
    """
    if len(logits) == 1:
        return torch.cat([1 - logits, logits]).float()
    return logits.float().softmax(dim=0)


def pixel_statistics(
    logits: Tensor, prediction: Tensor, label: Tensor, ignore_index: int = 255, bins: int = BINS
) -> Tensor:
    """Sum the confidence, accuracy and entropy of the pixels of an image in bins of confidence.

    Args:
        logits: Logits (K, H, W) at the size of the label, as for `probabilities`.
        prediction: Predicted ids (H, W).
        label: True ids (H, W).
        ignore_index: Label of pixels to leave out.
        bins: Equal parts of the confidences; part i holds those in (i / bins, (i + 1) / bins].

    Returns:
        Sums (4, bins), float64 on the CPU: pixels, confidence, correctly predicted pixels, and
        entropy in nats of the softmax at temperature 1.
    """
    probability = probabilities(logits)
    counted = (label != ignore_index).cpu()
    # The sum of a whole image's confidences does not fit a float32.
    confidence = probability.amax(dim=0).cpu()[counted].double()
    entropy = torch.special.entr(probability).sum(dim=0).cpu()[counted].double()
    right = (prediction.cpu() == label.cpu())[counted].double()
    # NaN is counted in the first bin, because its sums become NaN in any bin.
    part = (confidence.nan_to_num() * bins).ceil().long().sub(1).clamp(0, bins - 1)
    values = (torch.ones_like(confidence), confidence, right, entropy)
    # Without pixels bincount returns integers.
    return torch.stack([torch.bincount(part, value, bins) for value in values]).double()


def summarise(statistics: Tensor) -> tuple[float | None, float | None]:
    """Return the mean entropy and the expected calibration error.

    The error is the mean over the pixels of |accuracy - confidence|, both of a pixel's bin
    (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3).

    Args:
        statistics: Sums (4, bins) of `pixel_statistics`.

    Returns:
        The entropy in nats per pixel, from 0 to ln K, and the error, from 0 to 1; None for both
        where there are no pixels.
    """
    pixels, confidence, right, entropy = statistics
    count = float(pixels.sum())
    if not count:
        return None, None
    return float(entropy.sum()) / count, float((right - confidence).abs().sum()) / count
