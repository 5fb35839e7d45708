"""Data sets: bundled, generated, or from files in a folder, which are downloaded and verified if missing.

All arrays are numpy arrays on the host; `jaxnets.training.fit` moves them to the device. Files are in `data_folder()`,
set by the environment variable `JAXNETS_DATA`. Augmentation runs on the device: `jaxnets.data.augment`.
"""

from jaxnets.data import augment as augment
from jaxnets.data.arithmetic import (
    addition_pairs as addition_pairs,
    expressions as expressions,
    read_sum as read_sum,
    write_addition as write_addition,
)
from jaxnets.data.buckets import Buckets as Buckets, make_buckets as make_buckets, pad_sequences as pad_sequences
from jaxnets.data.bundled import breast_cancer as breast_cancer, diabetes as diabetes, iris as iris, wine as wine
from jaxnets.data.calculator import calculate as calculate
from jaxnets.data.camvid import CAMVID_CLASSES as CAMVID_CLASSES, CAMVID_VOID as CAMVID_VOID, camvid as camvid
from jaxnets.data.cifar import cifar10 as cifar10, cifar100 as cifar100
from jaxnets.data.csv_file import Table as Table, parse_csv as parse_csv, read_csv as read_csv
from jaxnets.data.data_set import (
    DataSet as DataSet,
    Split as Split,
    Standardization as Standardization,
    fit_standardization as fit_standardization,
    hold_out as hold_out,
    make_data_set as make_data_set,
    standardize as standardize,
)
from jaxnets.data.dates import (
    DateSet as DateSet,
    date_ids as date_ids,
    date_vocabularies as date_vocabularies,
    dates as dates,
)
from jaxnets.data.digits import digits as digits
from jaxnets.data.ett import ett as ett
from jaxnets.data.fashion_products import (
    FashionProducts as FashionProducts,
    Products as Products,
    fashion_products as fashion_products,
)
from jaxnets.data.files import data_folder as data_folder
from jaxnets.data.fsdd import Recordings as Recordings, fsdd as fsdd, fsdd_recordings as fsdd_recordings
from jaxnets.data.idx import parse_idx as parse_idx, read_idx as read_idx
from jaxnets.data.mnist import fashion_mnist as fashion_mnist, kmnist as kmnist, mnist as mnist
from jaxnets.data.multi30k import Multi30k as Multi30k, Pairs as Pairs, multi30k as multi30k
from jaxnets.data.pima import pima as pima
from jaxnets.data.playground import playground as playground, playground_features as playground_features
from jaxnets.data.sentences import (
    Sentences as Sentences,
    SentenceSet as SentenceSet,
    cross_validation as cross_validation,
    parse_sentences as parse_sentences,
    sentences as sentences,
)
from jaxnets.data.series import (
    Series as Series,
    forecast_windows as forecast_windows,
    window_starts as window_starts,
)
from jaxnets.data.shards import Shards as Shards, read_shards as read_shards, write_shards as write_shards
from jaxnets.data.source import Source as Source
from jaxnets.data.text import (
    CharacterText as CharacterText,
    characters as characters,
    names as names,
    text_streams as text_streams,
    text_windows as text_windows,
    tiny_shakespeare as tiny_shakespeare,
)
from jaxnets.data.tokenizers import (
    ByteTokenizer as ByteTokenizer,
    SubwordTokenizer as SubwordTokenizer,
    Tokenizer as Tokenizer,
    Vocabulary as Vocabulary,
    WordTokenizer as WordTokenizer,
    encode_all as encode_all,
    load_tokenizer as load_tokenizer,
    save_tokenizer as save_tokenizer,
    until_end as until_end,
)
from jaxnets.data.wav import Sound as Sound, parse_wav as parse_wav, read_wav as read_wav
