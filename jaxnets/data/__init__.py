"""Data sets: bundled, generated, or from files in a folder, which are downloaded and verified if missing.

All arrays are numpy arrays on the host; `jaxnets.training.fit` moves them to the device. Files are in `data_folder()`,
set by the environment variable `JAXNETS_DATA`. Augmentation runs on the device: `jaxnets.data.augment`.
"""

from jaxnets.data import augment
from jaxnets.data.bundled import breast_cancer, diabetes, iris, wine
from jaxnets.data.cifar import cifar10, cifar100
from jaxnets.data.csv_file import Table, parse_csv, read_csv
from jaxnets.data.data_set import (
    DataSet,
    Split,
    Standardization,
    fit_standardization,
    hold_out,
    make_data_set,
    standardize,
)
from jaxnets.data.digits import digits
from jaxnets.data.files import data_folder
from jaxnets.data.idx import parse_idx, read_idx
from jaxnets.data.mnist import fashion_mnist, kmnist, mnist
from jaxnets.data.pima import pima
from jaxnets.data.playground import playground, playground_features
from jaxnets.data.text import (
    CharacterText,
    Vocabulary,
    characters,
    names,
    text_streams,
    text_windows,
    tiny_shakespeare,
)

__all__ = [
    "CharacterText",
    "DataSet",
    "Split",
    "Standardization",
    "Table",
    "Vocabulary",
    "augment",
    "breast_cancer",
    "characters",
    "cifar10",
    "cifar100",
    "data_folder",
    "diabetes",
    "digits",
    "fashion_mnist",
    "fit_standardization",
    "hold_out",
    "iris",
    "kmnist",
    "make_data_set",
    "mnist",
    "names",
    "parse_csv",
    "parse_idx",
    "pima",
    "playground",
    "playground_features",
    "read_csv",
    "read_idx",
    "standardize",
    "text_streams",
    "text_windows",
    "tiny_shakespeare",
    "wine",
]
