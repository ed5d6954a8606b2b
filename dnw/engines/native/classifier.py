"""The classifier: a product of features and weights, compiled for this machine's CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dnw.engines.native.kept_on_disk import kept

Floats = NDArray[np.float32]

_ZERO = np.float32(0)


@kept
def classify(
    features: Floats,
    turns: tuple[int, int, int],
    weights: Floats,
    biases: Floats,
    classes: tuple[int, int],
    logits: Floats,
) -> None:
    """Map features [B, N] of some images, `turns` as in `run`, to their logits [B, K] of some classes.

    Four images share each weight that is read: there are more of them than the level-2 cache holds.
    """
    first, stop, step = turns
    shared = first + (stop - first + step - 1) // step // 4 * 4 * step
    for image in range(first, shared, 4 * step):
        one, two, three = image + step, image + 2 * step, image + 3 * step
        for k in range(classes[0], classes[1]):
            a = b = c = d = _ZERO
            for n in range(weights.shape[1]):
                weight = weights[k, n]
                a += weight * features[image, n]
                b += weight * features[one, n]
                c += weight * features[two, n]
                d += weight * features[three, n]
            logits[image, k], logits[one, k] = a + biases[k], b + biases[k]
            logits[two, k], logits[three, k] = c + biases[k], d + biases[k]
    for image in range(shared, stop, step):
        for k in range(classes[0], classes[1]):
            total = _ZERO
            for n in range(weights.shape[1]):
                total += weights[k, n] * features[image, n]
            logits[image, k] = total + biases[k]
