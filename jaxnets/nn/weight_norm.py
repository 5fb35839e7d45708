"""Kernels that are computed of others: of bounded norm, or of a direction and a magnitude."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxnets.layer import layer
from jaxnets.nn.check import compute_dtype
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, DTypeLike, Initializer, Key, Params, State

_TINY = 1e-12


def spectral_norm_spec(layer_spec: Spec, *, out_axes: int = 1) -> Spec:
    """Describe a layer whose kernel `spectral_norm` divides by its largest singular value.

    Args:
        layer_spec: of a layer with a `kernel`, such as `conv_spec(...)` or `linear_spec(...)`.
        out_axes: how many of the kernel's last axes are the outputs.

    Returns:
        The layer's spec and the state of the power iteration: `u` of the kernel's outputs, `v` of its inputs.

    Raises:
        ValueError: if the layer has no kernel, or the kernel not that many axes.

    Example:
        >>> from jaxnets import nn
        >>> spec = spectral_norm_spec(nn.conv_spec(3, 8, (5, 5)))
        >>> spec["u"].shape, spec["v"].shape, spec["u"].is_state
        ((8,), (5, 5, 3), True)
    """
    kernel, inputs = _kernel(layer_spec, out_axes)
    u, v = (
        ArraySpec(shape, _unit, jnp.float32, axes=axes, is_state=True)
        for shape, axes in (
            (kernel.shape[inputs:], kernel.axes[inputs:]),
            (kernel.shape[:inputs], kernel.axes[:inputs]),
        )
    )
    return layer_spec | {"u": u, "v": v}


@layer
def spectral_norm(params: Params, state: State, *, iterations: int = 1, train: bool) -> tuple[Params, State]:
    """Divide a kernel by its largest singular value: $W / sigma(W)$ with $sigma(W) = u . W v$.

    This makes a layer 1-Lipschitz.

    In training, power iteration comes closer to the singular vectors: $v = W^T u / |W^T u|$, $u = W v / |W v|$.
    Gradients take them for constants. A convolution's kernel counts as a matrix of outputs and all of its inputs.

    Args:
        params: of the layer, with `kernel` `[..., outputs]`.
        state: `u` and `v`, as `spectral_norm_spec` describes them.
        iterations: of the power iteration, in training.
        train: False leaves `u` and `v` as they are.

    Returns:
        `(params, state)`: the layer's parameters with the divided kernel, in at least float32, and new `u` and `v`. A
        kernel of zeros stays as it is.

    Raises:
        ValueError: if the state does not fit the kernel, or there are no iterations.

    Example:
        >>> from jaxnets import init, nn
        >>> params, state = init(spectral_norm_spec(nn.linear_spec(4, 3)), jax.random.key(0))
        >>> divided, state = nn.spectral_norm(params, state, iterations=30, train=True)
        >>> print(f"{jnp.linalg.norm(divided['kernel'], 2):.4f}")
        1.0000

    Reference:
        Miyato, Kataoka, Koyama, Yoshida, Spectral normalization for generative adversarial networks, 2018.

    Warning:
        The first `u` and `v` are random, so that the norm is underestimated in the first steps; PyTorch takes 15
        iterations when the layer is made. Call this once with `iterations=15` for the same. The order is the paper's,
        as in PyTorch's `nn.utils.spectral_norm`; its `parametrizations.spectral_norm` begins with u, half a step
        further.
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    kernel, u, v = params["kernel"], state["u"], state["v"]
    if kernel.shape != (*v.shape, *u.shape):
        raise ValueError(
            f"u and v must be of a kernel {list(kernel.shape)}, got {list(u.shape)} and {list(v.shape)}; pass the "
            "state of init(spectral_norm_spec(...), key)"
        )
    wide = compute_dtype(kernel)
    matrix = kernel.astype(wide).reshape((math.prod(v.shape), math.prod(u.shape)))
    left, right = u.reshape(-1).astype(wide), v.reshape(-1).astype(wide)
    if train:
        constant = jax.lax.stop_gradient(matrix)
        for _ in range(iterations):
            right = _normalized(_product(constant, left), right)
            left = _normalized(_product(right, constant), left)
    sigma = _product(right, _product(matrix, left))
    sigma = jnp.where(sigma == 0, 1, sigma)
    new = {"u": left.reshape(u.shape).astype(u.dtype), "v": right.reshape(v.shape).astype(v.dtype)}
    return params | {"kernel": (matrix / sigma).reshape(kernel.shape)}, new


def weight_norm_spec(layer_spec: Spec, *, out_axes: int = 1) -> Spec:
    """Describe a layer whose kernel `weight_norm` computes of a direction and a magnitude for each output.

    Args:
        layer_spec: of a layer with a `kernel`, such as `conv_spec(...)` or `linear_spec(...)`.
        out_axes: how many of the kernel's last axes are the outputs.

    Returns:
        The layer's spec without its kernel, with `direction` like the kernel and `magnitude` of its outputs, at first
        the norms of another draw of the kernel.

    Raises:
        ValueError: if the layer has no kernel, or the kernel not that many axes.

    Example:
        >>> from jaxnets import nn
        >>> spec = weight_norm_spec(nn.conv_spec(3, 8, (5, 5)))
        >>> spec["direction"].shape, spec["magnitude"].shape
        ((5, 5, 3, 8), (8,))
    """
    kernel, inputs = _kernel(layer_spec, out_axes)
    others = {name: leaf for name, leaf in layer_spec.items() if name != "kernel"}
    magnitude = dataclasses.replace(
        kernel,
        shape=kernel.shape[inputs:],
        axes=kernel.axes[inputs:],
        initializer=_NormsOf(kernel.initializer, kernel.shape[:inputs]),
        torch_initializer=kernel.torch_initializer and _NormsOf(kernel.torch_initializer, kernel.shape[:inputs]),
    )
    return others | {"direction": kernel, "magnitude": magnitude}


@layer
def weight_norm(params: Params) -> Params:
    """Compute a kernel of a magnitude and a direction for each output: $w_o = g_o d_o / |d_o|$.

    Args:
        params: `direction` `[..., outputs]`, `magnitude` `[outputs]`, and what else the layer has.

    Returns:
        The layer's parameters, with `kernel` in at least float32. A direction of zeros gives NaN.

    Raises:
        ValueError: if the magnitude does not fit the direction.

    Example:
        >>> from jaxnets import init, nn
        >>> params, _ = init(weight_norm_spec(nn.linear_spec(4, 3)), jax.random.key(0))
        >>> layer_params = nn.weight_norm(params)
        >>> nn.linear(layer_params, jnp.ones((2, 4))).shape
        (2, 3)
        >>> bool(jnp.allclose(jnp.linalg.norm(layer_params["kernel"], axis=0), params["magnitude"]))
        True

    Reference:
        Salimans, Kingma, Weight normalization: a simple reparameterization to accelerate training of deep neural
        networks, 2016.
    """
    direction, magnitude = params["direction"], params["magnitude"]
    if direction.ndim <= magnitude.ndim or direction.shape[-magnitude.ndim :] != magnitude.shape:
        raise ValueError(
            f"magnitude must have the last axes of direction {list(direction.shape)}, got {list(magnitude.shape)}"
        )
    wide = direction.astype(compute_dtype(direction))
    inputs = tuple(range(direction.ndim - magnitude.ndim))
    norms = jnp.sqrt(jnp.sum(jnp.square(wide), axis=inputs, keepdims=True))
    kernel = wide * (magnitude.astype(wide.dtype).reshape(norms.shape) / norms)
    return {name: leaf for name, leaf in params.items() if name not in ("direction", "magnitude")} | {"kernel": kernel}


def _kernel(layer_spec: Spec, out_axes: int) -> tuple[ArraySpec, int]:
    """The spec of the layer's kernel, and how many of its axes are inputs."""
    kernel = layer_spec.get("kernel") if isinstance(layer_spec, dict) else None
    if not isinstance(kernel, ArraySpec):
        names = sorted(layer_spec) if isinstance(layer_spec, dict) else type(layer_spec).__name__
        raise ValueError(f"the layer must have a kernel, as conv_spec and linear_spec describe it, got {names}")
    if not 1 <= out_axes < len(kernel.shape):
        raise ValueError(f"out_axes must be from 1 to {len(kernel.shape) - 1} for {list(kernel.shape)}, got {out_axes}")
    return kernel, len(kernel.shape) - out_axes


def _unit(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """A random direction."""
    drawn = jax.random.normal(key, shape, dtype)
    return drawn / jnp.maximum(jnp.sqrt(jnp.sum(jnp.square(drawn))), _TINY)


@dataclasses.dataclass(frozen=True)
class _NormsOf:
    """Initializes with the norms of a kernel `[*inputs, *shape]` that the initializer draws."""

    initializer: Initializer
    inputs: tuple[int, ...]

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        drawn = self.initializer(key, (*self.inputs, *shape), dtype)
        return jnp.sqrt(jnp.sum(jnp.square(drawn), axis=tuple(range(len(self.inputs)))))


def _normalized(x: Array, otherwise: Array) -> Array:
    """The direction of x, or the other one if x is 0, from which the iteration would never come back."""
    norm = jnp.sqrt(jnp.sum(jnp.square(x)))
    return jnp.where(norm == 0, otherwise, x / jnp.maximum(norm, _TINY))


def _product(a: Array, b: Array) -> Array:
    """In full precision: a norm in bfloat16, as TPUs multiply, would be off by a percent."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
