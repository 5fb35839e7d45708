"""Token by token: drawing and beam search, for every network with a step function.

A step is a pure function `step(carry, ids, lengths=None) -> (logits, carry)`: it reads the tokens ids `[batch, new]`,
of which the first `lengths` `[batch]` of each sequence are real (None for all), and returns logits `[batch,
vocabulary]` of the token after the last real one. The carry is any tree of arrays `[batch, ...]`: the carry of a
recurrent network, keys and values of the past, the memory of an encoder. `one_by_one` makes a step of a function that
reads one token.
"""

from jaxnets.decode.beam_search import Beams as Beams, beam_search as beam_search
from jaxnets.decode.generate import Generated as Generated, generate as generate
from jaxnets.decode.loop import Tokens as Tokens
from jaxnets.decode.prompts import align_prompts as align_prompts, pad_prompts as pad_prompts
from jaxnets.decode.sampling import Sampling as Sampling, draw as draw, sampling_logits as sampling_logits
from jaxnets.decode.step import Step as Step, one_by_one as one_by_one, read_prompt as read_prompt
