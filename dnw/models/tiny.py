"""What the tiny classifiers share: stem, 800 nodes, and how the last of them are read (paper, table 1).

Shapes: x_BCHW feature maps. Module names are those of the paper's code, so that its checkpoints map one to
one; this holds for static.py, discrete.py and continuous.py.
"""

from __future__ import annotations

from torch import Tensor, nn

from dnw.config import ConfigError, Train
from dnw.config.augmentation import SMALLEST_IMAGE

INPUTS = 32  # the first nodes receive the image
NODES = 800
FEATURES = 100  # the last nodes are read


def stem(train: Train) -> nn.Sequential:
    """Build what maps images [B, 3, H, W] to the input nodes, [B, 32, H/4, W/4].

    Raises ConfigError for images that it would shrink to less than 4x4 pixels.
    """
    if train.data.image_size < SMALLEST_IMAGE:
        raise ConfigError(
            f"data.image_size: must be at least {SMALLEST_IMAGE} for the {train.model.name} network "
            f"(got {train.data.image_size})"
        )
    half = INPUTS // 2
    return nn.Sequential(
        nn.Conv2d(3, half, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(half),
        nn.ReLU(),
        nn.Conv2d(half, half, kernel_size=3, stride=2, padding=1, groups=half),
        nn.Conv2d(half, INPUTS, kernel_size=1),
        nn.BatchNorm2d(INPUTS),
    )


def filters() -> nn.Conv2d:
    """Build the 3x3 filters of all nodes, one each."""
    return nn.Conv2d(NODES, NODES, kernel_size=3, padding=1, groups=NODES, bias=False)


def read(x_BCHW: Tensor) -> Tensor:
    """Return the mean over four pixels, [B, C].

    They lie up and left of the centre: what is left of the paper's 3x3 window when its code pools it by two.
    """
    corner = x_BCHW.shape[-1] // 2 - 2
    return x_BCHW[:, :, corner : corner + 2, corner : corner + 2].mean((2, 3))
