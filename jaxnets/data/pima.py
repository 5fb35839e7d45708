"""The Pima table: which of 768 women get diabetes."""

from __future__ import annotations

from jaxnets.data.csv_file import Table, parse_csv
from jaxnets.data.files import load_files, plain_file

FILE = plain_file(
    "tabular/pima-indians-diabetes.csv",
    "https://raw.githubusercontent.com/jbrownlee/Datasets/master/pima-indians-diabetes.csv",
    "https://raw.githubusercontent.com/jbrownlee/Datasets/master/pima-indians-diabetes.data.csv",
    size=23_278,
    sha256="6bfe5d0f379d17a0e0819b996407e3c09bf80febd4287f2ed212190dfff154af",
)
NAMES = ("pregnancies", "glucose", "blood pressure", "skin thickness", "insulin", "body mass", "pedigree", "age")


def pima() -> Table:
    """Load the 768 examples of the Pima table, 8 measurements each, in the order of the file.

    The file is `tabular/pima-indians-diabetes.csv` in `data_folder()`; if missing, it is downloaded there (23 KB).
    Zeros in blood pressure, skin thickness, insulin and body mass are missing values.

    Returns:
        A `Table`: inputs float32 `[768, 8]`, labels int32 `[768]`, 268 of them 1.

    Raises:
        FileNotFoundError: if the file is missing and cannot be downloaded.
        ValueError: if the file is damaged.

    Example:
        `table = pima()` and `fit(..., (table.inputs, table.labels), shuffle=False)` train on all rows in file order;
        `make_data_set(table.inputs, table.labels, classes=table.classes)` makes splits.

    Reference:
        Smith et al., Using the ADAP learning algorithm to forecast the onset of diabetes mellitus, 1988.
    """
    table = parse_csv(load_files([FILE])[0].decode("ascii"), header=False, name=FILE.path)
    return table._replace(names=NAMES)
