"""Multi30k: descriptions of pictures in German and English, to train translation."""

from __future__ import annotations

from typing import NamedTuple

from jaxnets.data.files import DataFile
from jaxnets.data.text_lines import load_packed, text_lines
from jaxnets.errors import FileError

_SOURCE = (
    "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/{}.gz"
)


def _file(name: str, size: int, sha256: str, content_size: int, content_sha256: str) -> DataFile:
    return DataFile(f"multi30k/{name}.gz", (_SOURCE.format(name),), size, sha256, content_size, content_sha256)


# German, then English, of each split.
FILES = {
    "train": (
        _file(
            "train.de",
            637_044,
            "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
            2_110_398,
            "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
        ),
        _file(
            "train.en",
            568_929,
            "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
            1_801_238,
            "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
        ),
    ),
    "validation": (
        _file(
            "val.de",
            24_681,
            "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
            75_981,
            "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
        ),
        _file(
            "val.en",
            21_650,
            "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
            63_297,
            "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
        ),
    ),
    "test_2016": (
        _file(
            "test_2016_flickr.de",
            22_890,
            "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
            70_649,
            "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
        ),
        _file(
            "test_2016_flickr.en",
            21_077,
            "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
            62_076,
            "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
        ),
    ),
    "test_2017": (
        _file(
            "test_2017_flickr.de",
            21_471,
            "a2c89666db00c495cd8513b9d708d5a3acc205d7de312ef2bf5fb7ebc1540aee",
            64_059,
            "c3078bc3b36808bf9d20eb2347ed6137016179ef59ec0d2b9b8ecc3fb2880081",
        ),
        _file(
            "test_2017_flickr.en",
            19_138,
            "76a444ee25172e72695cddb13ae4a3bda59430617be88e0bb46b60504f054074",
            55_242,
            "ce1450ddc5ab0834502579d77a170849952e15a2938b34cc503bdc25ebb4fb98",
        ),
    ),
    "coco": (
        _file(
            "test_2017_mscoco.de",
            10_230,
            "799e4854c25d601cb6cb6be29eabe5667734c61ace2f495e03e429031a0bc338",
            29_906,
            "58277df3c75f92f7145a11b910b553d1cf82c439249d4dc237c899609eafac22",
        ),
        _file(
            "test_2017_mscoco.en",
            8_844,
            "aab300bfb4427697987e02cd0aacd44bfe8aa50456231b6474c08038bbed2b58",
            24_949,
            "43051fdfa86fd5395182e718a94ca67b1b227b9f7c79596ff0f6b813216981d2",
        ),
    ),
}


class Pairs(NamedTuple):
    """Sentences and their translations.

    Attributes:
        german: the sentences in German.
        english: those in English, as many and in the same order.
    """

    german: list[str]
    english: list[str]


class Multi30k(NamedTuple):
    """The splits of Multi30k.

    Attributes:
        train: 29,000 pairs.
        validation: 1,014.
        test_2016: 1,000, of pictures from Flickr.
        test_2017: 1,000, of other pictures from Flickr.
        coco: 461, of pictures from COCO with ambiguous verbs.
    """

    train: Pairs
    validation: Pairs
    test_2016: Pairs
    test_2017: Pairs
    coco: Pairs


def multi30k() -> Multi30k:
    """Load Multi30k: 29,000 descriptions of pictures in English with German translations, and four more splits.

    The texts are raw: with capitals, and punctuation that touches words. The files are `multi30k/train.de`,
    `multi30k/train.en` and so on in `data_folder()`, or those in `multi30k/multi30k-en-de.tar.xz`; what is missing is
    downloaded (1.4 MB). Their source, github.com/multi30k/dataset, states no licence for the texts; they belong to
    pictures of Flickr30K, which are for "non-commercial research and/or educational purposes".

    Returns:
        The splits, each with as many German as English sentences.

    Raises:
        FileNotFoundError: if files are missing and cannot be downloaded; the error says where to put them.
        ValueError: if a file is damaged.

    Example:
        `multi30k().train.english[0]` is `"Two young, White males are outside near many bushes."`.

    Reference:
        Elliott et al., Multi30K: multilingual English-German image descriptions, 2016.

    Warning:
        BLEU on this set depends by many points on the direction and on whether texts are lowercased and tokenized
        first; state both.
    """
    every_file = [file for pair in FILES.values() for file in pair]
    contents = iter(load_packed("multi30k/multi30k-en-de.tar.xz", every_file))
    return Multi30k(**{split: _pairs(split, next(contents), next(contents)) for split in FILES})


def _pairs(split: str, german: bytes, english: bytes) -> Pairs:
    names = [file.path.removesuffix(".gz") for file in FILES[split]]
    pairs = Pairs(text_lines(german, names[0]), text_lines(english, names[1]))
    if len(pairs.german) != len(pairs.english):
        raise FileError(
            f"{names[0]} has {len(pairs.german):,} lines and {names[1]} {len(pairs.english):,}; each sentence needs "
            "its translation in the same line of the other file"
        )
    return pairs
