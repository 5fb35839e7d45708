"""Tokenizers: characters, bytes, words and subwords, with one interface (`Tokenizer`)."""

from jaxnets.data.tokenizers.characters import ByteTokenizer as ByteTokenizer, Vocabulary as Vocabulary
from jaxnets.data.tokenizers.folder import load_tokenizer as load_tokenizer, save_tokenizer as save_tokenizer
from jaxnets.data.tokenizers.subwords import SubwordTokenizer as SubwordTokenizer
from jaxnets.data.tokenizers.tokenizer import (
    Tokenizer as Tokenizer,
    encode_all as encode_all,
    until_end as until_end,
)
from jaxnets.data.tokenizers.words import WordTokenizer as WordTokenizer
