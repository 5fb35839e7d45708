"""Image augmentation as pure functions with keys, compiled and batched on the device.

Images are `[batch, height, width, channels]`, floating point. A function with a `key` draws parameters for each image,
from the key and the image's index in the batch; each has a counterpart with the parameters as arguments. Fix settings
with `functools.partial`, combine functions with `chain`, and add them to the training loss with `augmented`.
"""

from jaxnets.data.augment.affine import (
    Method as Method,
    affine as affine,
    affine_matrix as affine_matrix,
    sample_at as sample_at,
)
from jaxnets.data.augment.color import (
    adjust_brightness as adjust_brightness,
    adjust_contrast as adjust_contrast,
    adjust_saturation as adjust_saturation,
    brightness as brightness,
    contrast as contrast,
    saturation as saturation,
)
from jaxnets.data.augment.compose import (
    Augmentation as Augmentation,
    augmented as augmented,
    chain as chain,
    paired as paired,
)
from jaxnets.data.augment.crop import crop as crop, random_crop as random_crop
from jaxnets.data.augment.elastic import displace as displace, elastic as elastic
from jaxnets.data.augment.geometry import (
    flip as flip,
    random_affine as random_affine,
    random_flip as random_flip,
    random_rotation as random_rotation,
    random_scale as random_scale,
    random_translation as random_translation,
    rotate as rotate,
    scale as scale,
    translate as translate,
)
from jaxnets.data.augment.images import Fill as Fill, Range as Range
from jaxnets.data.augment.mixing import Mixed as Mixed, cutmix as cutmix, mix as mix, mixup as mixup, paste as paste
from jaxnets.data.augment.noise import blur as blur, gaussian_blur as gaussian_blur, gaussian_noise as gaussian_noise
from jaxnets.data.augment.occlusion import cutout as cutout, erase as erase
