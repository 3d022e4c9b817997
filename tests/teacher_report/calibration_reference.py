"""Entropy and calibration, computed in another way."""

import numpy as np


def reference(
    logits: np.ndarray, label: np.ndarray, ignore_index: int = 255
) -> tuple[float, float]:
    """Entropy and ECE of logits (..., K) and labels (...), in float64, a bin at a time."""
    logits, label = logits.reshape(-1, logits.shape[-1]).astype(np.float64), label.ravel()
    logits, label = logits[label != ignore_index], label[label != ignore_index]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    entropy = -np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0).sum(axis=1).mean()
    confidence, right = p.max(axis=1), p.argmax(axis=1) == label
    ece = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return entropy, ece
