"""Where the arrays of a train state lie on a mesh of devices."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from jaxnets.sharding import Placement
from jaxnets.tree import paths
from jaxnets.types import PyTree

if TYPE_CHECKING:
    from jaxnets.training.state import TrainState


def train_state_shardings(train_state: TrainState, placement: Placement) -> TrainState:
    """Return where each array of a train state lies; what an optimizer keeps of a parameter lies as the parameter does.

    Args:
        train_state: arrays or shapes.
        placement: where parameters and state lie.

    Warns:
        UserWarning: if something of the optimizer is as large as the largest parameter and whole on every device, while
            parameters are divided.
    """
    shapes = {path: jnp.shape(leaf) for path, leaf in paths(train_state.params).items()}
    whole: list[str] = []

    def of_optimizer(path: str, leaf: Any) -> NamedSharding:
        parts = path.split("/")
        suffixes = ["/".join(parts[first:]) for first in range(len(parts) + 1)]
        of_network = [f"{parts[0]}/{suffix}" for suffix in suffixes[1:]]  # of several, each with its optimizer
        owner = next((name for name in suffixes + of_network if shapes.get(name) == jnp.shape(leaf)), None)
        if owner is None and math.prod(jnp.shape(leaf)) >= max(map(math.prod, shapes.values()), default=0) > 1:
            whole.append(f"{path} {list(jnp.shape(leaf))}")
        return placement.sharding(owner) if owner is not None else everywhere

    everywhere = Placement(placement.mesh, ()).sharding()
    trees = {
        name: _mapped(getattr(train_state, name), lambda path, _: placement.sharding(path))
        for name in ("params", "state")
    }
    opt_state = _mapped(train_state.opt_state, of_optimizer)
    if whole and placement.partitions:
        warnings.warn(
            f"arrays of the optimizer are whole on every device: {', '.join(whole[:3])}; those that lie under the path "
            "of a parameter and have its shape are divided as it is (optax.flatten makes one array of all)",
            stacklevel=2,
        )
    rest = jax.tree.map(lambda _: everywhere, train_state._replace(params=None, state=None, opt_state=None))
    shardings: TrainState = rest._replace(**trees, opt_state=opt_state)
    return shardings


def _mapped(tree: PyTree, function: Callable[[str, Any], Any]) -> PyTree:
    """The tree of what a function of path and leaf returns."""
    leaves = [function(path, leaf) for path, leaf in paths(tree).items()]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def given_on_mesh(tree: PyTree, placement: Placement) -> PyTree:
    """Put parameters or state, all or some, where the placement says."""
    return _mapped(tree, lambda path, leaf: jax.device_put(leaf, placement.sharding(path)))
