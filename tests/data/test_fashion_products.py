"""The loader of product pictures and titles, on small sheets made here, and on the real files."""

import hashlib
import importlib
import io

import numpy as np
import pytest
from PIL import Image

from jaxnets.data import fashion_products
from tests.data.test_real_files import needs

module = importlib.import_module("jaxnets.data.fashion_products")
HEADER = "id,caption,gender,masterCategory,subCategory,articleType,baseColour,season,usage\n"
CSV = {
    "train": "".join(f'{i},"Shirt {i}, blue",Men,Apparel,Topwear,Shirts,Blue,Fall,Casual\n' for i in range(5)),
    "test": "9,Cap,Women,Accessories,Headwear,Caps,,Fall,Casual\n",
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write sheets of 2 x 2 pictures of 4 x 3 pixels, as PNG to keep them, and make the loader expect the files."""
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    for name, value in {"HEIGHT": 4, "WIDTH": 3, "ROWS": 2, "COLUMNS": 2}.items():
        monkeypatch.setattr(module, name, value)
    folder = tmp_path / "fashion_products"
    folder.mkdir()

    def write_set(**changed):
        pictures = {}
        for split, rows in CSV.items():
            text = changed.get(split, HEADER + rows).encode()
            (folder / f"{split}.csv").write_bytes(text)
            monkeypatch.setitem(module.SHA256, split, hashlib.sha256(text).hexdigest())
            pictures[split] = np.random.default_rng(0).integers(0, 256, (8, 4, 3, 3)).astype(np.uint8)
            for sheet in range(2 if split == "train" else 1):
                a, b, c, d = pictures[split][4 * sheet : 4 * sheet + 4]
                content = io.BytesIO()
                Image.fromarray(np.concatenate([np.concatenate([a, b], 1), np.concatenate([c, d], 1)])).save(
                    content, "PNG"
                )
                (folder / f"{split}-{sheet:02}.jpg").write_bytes(content.getvalue())
        return folder, pictures

    return write_set


def test_pictures_and_titles_are_in_the_order_of_the_file(write):
    _, pictures = write()
    train, test = fashion_products()
    np.testing.assert_array_equal(train.images, pictures["train"][:5])
    np.testing.assert_array_equal(test.images, pictures["test"][:1])
    assert train.captions[4] == "Shirt 4, blue"
    assert (test.captions, test.genders, test.article_types, test.colors) == (["Cap"], ["Women"], ["Caps"], [""])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,caption\n1,Cap\n", "train.csv: the first line lacks gender, articleType, baseColour, got id, caption"),
        (HEADER, "train.csv has a header but no rows"),
        (HEADER + "1, ,Men,a,b,c,d,e,f\n", "train.csv, line 2: the caption is empty"),
        (HEADER + "1,Cap\n", "train.csv, line 2: 2 cells where the first line has 9"),
    ],
)
def test_a_damaged_table_is_an_error(write, text, message):
    write(train=text)
    with pytest.raises(ValueError, match=message):
        fashion_products()


def test_damaged_and_missing_files_are_errors(write):
    folder, _ = write()
    Image.new("RGB", (6, 4)).save(folder / "test-00.jpg", "PNG")
    with pytest.raises(ValueError, match="a sheet is 6 x 8 pixels of RGB, got 6 x 4 of RGB"):
        fashion_products()
    (folder / "test-00.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"test-00\.jpg is not a complete picture"):
        fashion_products()
    (folder / "test-00.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no .*test-00.jpg; set JAXNETS_DATA to a folder that has"):
        fashion_products()
    (folder / "train.csv").write_text(HEADER)
    with pytest.raises(ValueError, match=r"train.csv has content of SHA-256 \w+ where \w+ was expected"):
        fashion_products()


@needs("fashion_products/train.csv")
def test_the_real_files():
    """The counts of their description."""
    train, test = fashion_products()
    assert (train.images.shape, test.images.shape) == ((6000, 64, 48, 3), (1000, 64, 48, 3))
    assert (len(set(train.captions)), len(set(test.captions))) == (5178, 1000)
    assert not set(train.captions) & set(test.captions)
    assert train.images[:, 0].mean() > 200  # on white
