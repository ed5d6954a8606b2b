"""ResNets as the paper made them sparse: those of torchvision, but for the classifier and the start.

Shapes: x_BC features, logits_BK.
"""

from __future__ import annotations

from torch import Tensor, nn

from dnw.config import Train
from dnw.models.torchvision_cpu import torchvision


class Classifier(nn.Conv2d):
    """A 1x1 convolution without bias, over features without pixels: a matrix as all the other layers have."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes, kernel_size=1, bias=False)

    def forward(self, x_BC: Tensor) -> Tensor:
        """Map features [B, C] to logits [B, classes]."""
        return super().forward(x_BC[:, :, None, None]).flatten(1)


def resnet(train: Train) -> nn.Module:
    """Build the ResNet that `train.model.name` names: images [B, 3, H, W] to logits [B, classes].

    The stride of a bottleneck is in its 3x3 convolution. All convolutions start normal, with a variance of 2
    over the number of inputs, as in the paper's code.
    """
    model: nn.Module = torchvision().models.get_model(train.model.name, weights=None)
    model.fc = Classifier(model.fc.in_features, train.data.classes)  # type: ignore[arg-type,union-attr]
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    return model
