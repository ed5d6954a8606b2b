"""Networks that can't be trained with deterministic=true on a GPU: CUDA has no such kernel for a layer.

The operations are those for which torch.use_deterministic_algorithms is documented to raise an error (torch
2.13); on a CPU each of them is deterministic. A library's networks are told by their names, so that a
submission can refuse them without importing torch. NETWORKS was made by tracing them on images of 224 px; a
test traces some again. Nearly all of torchvision's were traced, of timm's one or two of most kinds, and
all that are named here. What isn't named stops at its first step with torch's own error, of which
`remedy` makes one line.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from dnw.config import ConfigError, Train

_POOLING = "adaptive average pooling"
_BILINEAR = "bilinear interpolation"
_BICUBIC = "bicubic interpolation"
_REFLECTION = "padding by reflection"
# By name, with * for anything: the operation that has no deterministic kernel.
NETWORKS = {
    "torchvision/alexnet": _POOLING,
    "torchvision/vgg*": _POOLING,
    "timm/coat_tiny": _BILINEAR,
    "timm/coat_mini": _BILINEAR,
    "timm/coat_small": _BILINEAR,
    "timm/csatv2*": _POOLING,
    "timm/densenetblur121d": _REFLECTION,
    "timm/edgenext_*": "a cumulative sum",
    "timm/efficientformerv2_*": _BILINEAR,
    "timm/mobilenetv5_*": _BILINEAR,
    "timm/mobilevit_*": _BILINEAR,
    "timm/mobilevitv2_*": _BILINEAR,
    "timm/naflexvit_base_patch16_gap": _BICUBIC,
    "timm/naflexvit_base_patch16_map": _BICUBIC,
    "timm/naflexvit_base_patch16_par_gap": _BICUBIC,
    "timm/naflexvit_base_patch16_parfac_gap": "linear interpolation",
    "timm/naflexvit_base_patch16_siglip": _BILINEAR,
    "timm/pvt_v2_b2_li": _POOLING,
    "timm/qwen3_vit_88m": _BILINEAR,
    "timm/qwen3_vit_88m_enc": _BILINEAR,
    "timm/qwen3_vit_88m_merge": _BILINEAR,
    "timm/sam2_hiera_*": _BICUBIC,
    "timm/tresnet_*": _REFLECTION,
}
TRACED_AT = 224  # images of another size may need no interpolation
MEANING = "the same run then ends with other bits each time, also when it is resumed"
_REFUSAL = re.compile(r"(\w+) does not have a deterministic implementation")


def operation_of(name: str, image_size: int) -> str | None:
    """Return the operation without a deterministic kernel in a library's network; None: none is known."""
    operation = next((layer for pattern, layer in NETWORKS.items() if fnmatchcase(name, pattern)), None)
    is_resizing = operation is not None and operation.endswith("interpolation")
    return None if is_resizing and image_size != TRACED_AT else operation


def check(train: Train) -> None:
    """Refuse a network that deterministic=true would stop at its first step on a GPU.

    Raises:
        ConfigError: with the layer, and what to set.
    """
    sizes = {train.data.image_size, *(size for _, size in train.augment.sizes)}
    found = (operation_of(train.model.name, size) for size in sorted(sizes))
    operation = next(filter(None, found), None)
    if train.deterministic and operation is not None:
        raise ConfigError(_told(train, operation))


def remedy(error: BaseException, train: Train) -> str | None:
    """Return one line for torch's refusal of an operation; None: the error is another one."""
    found = _REFUSAL.search(str(error)) if isinstance(error, RuntimeError) else None
    return _told(train, found[1]) if found else None


def _told(train: Train, operation: str) -> str:
    exact = " and reduce=fast" if train.reduce == "exact" else ""
    return (
        f"deterministic: model={train.model.name} has {operation}, for which CUDA has no deterministic "
        f"kernel; set deterministic=false{exact} ({MEANING}), choose another network, or train on the CPU "
        "(cluster.gpus_per_node=0)"
    )
