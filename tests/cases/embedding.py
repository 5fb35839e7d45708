"""Cases of embeddings."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import nn
from tests.cases.case import Case, stateless
from tests.oracles import normal

IDS = np.array([[0, 3, 3], [6, 1, 0]], np.int32)


def embed(params, state, inputs, key):
    """As in mixed precision, the parameters come in the dtype in which to compute."""
    cast = jax.tree.map(lambda p: p.astype(inputs["dtype"].dtype), params)
    return nn.embedding(cast, inputs["ids"]), state


def tied(params, state, inputs, key):
    x = nn.embedding(params, inputs["ids"]).astype(jnp.result_type(inputs["x"])) + inputs["x"]
    return nn.tied_logits(params, x), state


CASES = [
    Case("embedding", (nn.embedding,), nn.embedding_spec(7, 4), embed, {"ids": IDS, "dtype": normal(1)}),
    Case("tied-logits", (nn.tied_logits,), nn.embedding_spec(7, 4), stateless(nn.tied_logits), normal(2, 3, 4)),
    Case(
        "embedding-tied",
        (nn.embedding, nn.tied_logits),
        nn.embedding_spec(7, 4),
        tied,
        {"ids": IDS, "x": normal(2, 3, 4)},
    ),
]
