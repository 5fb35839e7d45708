"""ETTh1 and ETTh2: two years of an electricity transformer's oil temperature and six loads, hour by hour."""

from __future__ import annotations

from typing import Literal

import numpy as np

from jaxnets.data.csv_file import parse_csv
from jaxnets.data.data_set import fit_standardization
from jaxnets.data.files import DataFile, load_files, plain_file
from jaxnets.data.series import Series
from jaxnets.errors import FileError

_SOURCE = (
    "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/{}.csv"
)
_HOURS_OF_MONTH = 30 * 24
LOADS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL")
TARGET = "OT"


def _file(name: str, size: int, sha256: str) -> DataFile:
    return plain_file(f"ett/{name}.csv", _SOURCE.format(name), size=size, sha256=sha256)


FILES = {
    "ETTh1": _file("ETTh1", 2_589_657, "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
    "ETTh2": _file("ETTh2", 2_417_960, "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
}


def ett(name: Literal["ETTh1", "ETTh2"] = "ETTh1") -> Series:
    """Load one of the two hourly series of the Electricity Transformer data, with the splits of the benchmark.

    12 months of 30 days for training, 4 for validation and 4 for testing; the rest of the file is not used. All values
    are standardized by mean and deviation of the training months. Errors are measured on the standardized values.

    The file is `ett/ETTh1.csv` (or `.csv.gz`, `.csv.xz`) in `data_folder()`; if missing, it is downloaded there
    (2.5 MB). Its licence is CC BY-ND 4.0.

    Args:
        name: of the series, which is that of a transformer: `"ETTh1"` or `"ETTh2"`.

    Returns:
        A `Series` of 14,400 hours and 7 channels: six loads, and last the oil temperature `OT`.

    Raises:
        FileNotFoundError: if the file is missing and cannot be downloaded.
        ValueError: if the file is damaged, or there is no such series.

    Example:
        `series = ett("ETTh1")` and `window_starts(series.test, history=336, horizon=96)` are 2,785 windows.

    Reference:
        Zhou et al., Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting, 2021.

    Warning:
        Several published programs drop the last incomplete batch of test windows, so their errors are those of the
        first `n // batch_size * batch_size` windows.
    """
    if name not in FILES:
        raise ValueError(f"ett: name must be one of {', '.join(FILES)}, got {name!r}")
    return parse_ett(load_files([FILES[name]])[0].decode("ascii"), FILES[name].path)


def parse_ett(text: str, name: str) -> Series:
    """Parse the text of a file; an error names the file by `name`, and the line."""
    table = parse_csv(text, TARGET, columns=LOADS, regression=True, name=name)
    months = [range(0, 12), range(12, 16), range(16, 20)]
    train, validation, test = (range(m.start * _HOURS_OF_MONTH, m.stop * _HOURS_OF_MONTH) for m in months)
    if len(table.inputs) < test.stop:
        raise FileError(f"{name} has {len(table.inputs):,} hours where the splits need {test.stop:,}; it is cut off")
    values = np.column_stack([table.inputs, table.labels])[: test.stop]
    fitted = fit_standardization(values[train.start : train.stop])
    return Series(fitted(values), (*LOADS, TARGET), train, validation, test, fitted)
