"""Image augmentation as pure functions with keys, compiled and batched on the device.

Images are `[batch, height, width, channels]`, floating point. A function with a `key` draws parameters for each image,
from the key and the image's index in the batch; each has a counterpart with the parameters as arguments. Fix settings
with `functools.partial`, combine functions with `chain`, and add them to the training loss with `augmented`.
"""

from jaxnets.data.augment.affine import Method, affine, affine_matrix, sample_at
from jaxnets.data.augment.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    brightness,
    contrast,
    saturation,
)
from jaxnets.data.augment.compose import Augmentation, augmented, chain
from jaxnets.data.augment.crop import crop, random_crop
from jaxnets.data.augment.elastic import displace, elastic
from jaxnets.data.augment.geometry import (
    flip,
    random_affine,
    random_flip,
    random_rotation,
    random_scale,
    random_translation,
    rotate,
    scale,
    translate,
)
from jaxnets.data.augment.images import Fill, Range
from jaxnets.data.augment.mixing import Mixed, cutmix, mix, mixup, paste
from jaxnets.data.augment.noise import blur, gaussian_blur, gaussian_noise
from jaxnets.data.augment.occlusion import cutout, erase

__all__ = [
    "Augmentation",
    "Fill",
    "Method",
    "Mixed",
    "Range",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_saturation",
    "affine",
    "affine_matrix",
    "augmented",
    "blur",
    "brightness",
    "chain",
    "contrast",
    "crop",
    "cutmix",
    "cutout",
    "displace",
    "elastic",
    "erase",
    "flip",
    "gaussian_blur",
    "gaussian_noise",
    "mix",
    "mixup",
    "paste",
    "random_affine",
    "random_crop",
    "random_flip",
    "random_rotation",
    "random_scale",
    "random_translation",
    "rotate",
    "sample_at",
    "saturation",
    "scale",
    "translate",
]
