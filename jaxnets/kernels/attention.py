"""Attention by JAX's own function, by cuDNN and by a TPU kernel, and which of them to take.

Each computes what the page of `jaxnets.nn.dot_product_attention` says.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from jaxnets.backend import fast_path, platform
from jaxnets.kernels.blocked_attention import faster_in_blocks
from jaxnets.kernels.splash_attention import one_device, splash_attention, tiles
from jaxnets.types import Array, DTypeLike

Implementation: TypeAlias = Literal["blocks", "cudnn", "einsum", "splash", "xla"]

_LONG = 256
"""From so many keys on, gradients of keys and values are computed with the features first on CPU (docs/LOG.md)."""


class Split(NamedTuple):
    """How attention is divided over a mesh of devices; a kernel then runs on each device's batch and heads.

    Attributes:
        mesh: the devices.
        batch: the axes of the mesh that divide the batch.
        heads: the axes of the mesh that divide the heads.
    """

    mesh: Mesh
    batch: tuple[str, ...]
    heads: tuple[str, ...]

    def divides(self, queries: Array, keys: Array) -> bool:
        """Whether batch and heads of `[batch, time, heads, head_dim]` can be cut into equal parts."""
        batch, heads = (math.prod(self.mesh.shape[axis] for axis in axes) for axes in self[1:])
        return not (queries.shape[0] % batch or queries.shape[2] % heads or keys.shape[2] % heads)

    def run(self, function: Callable[..., Array], *arrays: Array) -> Array:
        """Call `function(queries, keys, values)` on each device with its part, or with a mask as a fourth array."""

        def partition(array: Array, axes: tuple[tuple[str, ...], ...]) -> PartitionSpec:
            sizes = zip(array.shape, axes, strict=False)
            return PartitionSpec(*(names if names and size != 1 else None for size, names in sizes))

        whole, mask = (self.batch, (), self.heads), (self.batch, self.heads)
        specs = tuple(map(partition, arrays, (whole, whole, whole, mask)))
        on_each: Any = jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=specs[0], check_vma=False)
        y: Array = on_each(*arrays)
        return y


def attend(
    implementation: Implementation,
    queries: Array,
    keys: Array,
    values: Array,
    *,
    mask: Array | None,
    causal: bool,
    scale: float,
    split: Split | None = None,
) -> Array:
    """Compute attention `[batch, time, heads, head_dim]` without dropping weights, by `"xla"`, `"cudnn"` or `"splash"`.

    Raises:
        ValueError: if there is no such implementation, or it does not support the mask, the dtype, the shapes or the
            device.
    """
    if implementation in _KERNELS:
        kernel = _KERNELS[implementation]
        if split is None:
            return kernel(queries, keys, values, mask=mask, causal=causal, scale=scale)

        def on_each(queries: Array, keys: Array, values: Array, mask: Array | None = None) -> Array:
            return kernel(queries, keys, values, mask=mask, causal=causal, scale=scale)

        return split.run(on_each, queries, keys, values, *(() if mask is None else (mask,)))
    if implementation == "xla":
        return _attend_by_jax("xla", queries, keys, values, mask, causal, scale)
    raise ValueError(f"implementation must be einsum, blocks, xla, cudnn or splash, got {implementation!r}")


def _attend_by_jax(
    name: Literal["xla", "cudnn"],
    queries: Array,
    keys: Array,
    values: Array,
    mask: Array | None,
    causal: bool,
    scale: float,
) -> Array:
    with jax.numpy_dtype_promotion("standard"):  # it mixes dtypes, also where the caller forbids that
        return jax.nn.dot_product_attention(
            queries, keys, values, mask=mask, is_causal=causal, scale=scale, implementation=name
        )


def implementation_here(
    queries: Array, keys: Array, values: Array, *, masked: bool, dropping: bool, causal: bool, split: bool = False
) -> Implementation:
    """Return what `choose_implementation` says for these arrays on the devices at hand.

    With `split` a kernel runs on each device of a mesh by itself.
    """
    if 0 in queries.shape:
        return "einsum"  # a kernel wants something to compute
    fits = tiles(queries.shape[-3], keys.shape[-3]) and (split or one_device(queries, keys, values))
    backend = platform() if fast_path("attention", "cpu", "gpu", "tpu") else None
    return choose_implementation(
        queries.dtype,
        queries.shape[-1],
        (queries.shape[-3], keys.shape[-3]),
        masked=masked,
        dropping=dropping,
        strict=jax.config.jax_numpy_dtype_promotion == "strict",  # type: ignore[attr-defined]
        backend=backend,
        compute_capability=cuda_compute_capability(),
        tiled=backend == "tpu" and fits,
        blocks=causal and faster_in_blocks(queries.shape[-3]) and fast_path("attention_blocks", "cpu"),
    )


def choose_implementation(
    dtype: DTypeLike,
    head_dim: int,
    lengths: tuple[int, int],
    *,
    masked: bool,
    dropping: bool,
    strict: bool,
    backend: str | None,
    compute_capability: float | None,
    tiled: bool,
    blocks: bool,
) -> Implementation:
    """Choose how to compute attention.

    - `"cudnn"`, the flash attention of NVIDIA's library, where it computes attention and its gradient
      (`refused_by_cudnn`): bfloat16 or float16, heads of at most 128 features and a multiple of 8, even numbers of
      queries and of keys, a GPU of compute capability 8.0 (Ampere) or later, no dropout, no mask array. (It would take
      a mask as a bias of the full size, which gives up what flash attention saves, and not under `vmap`.)
    - `"splash"`, JAX's flash attention for TPUs: bfloat16, no dropout, no mask array, lengths that `tiles` allows, and
      one device, because the compiler cannot split the kernel, or a mesh over which it runs on each device by itself.
    - `"blocks"`, the products of the next form for some queries at a time, on CPU for causal attention of long
      sequences, without dropout.
    - `"einsum"`, two batched products with heads before time, elsewhere on CPU and TPU, where it is the fastest; and on
      every backend for what the form below lacks: float64, dropout, and gradients in half precision under strict dtype
      promotion.
    - `"xla"`, the plain form of `jax.nn.dot_product_attention`, elsewhere.

    Args:
        dtype: dtype of the queries.
        head_dim: size of a head.
        lengths: the numbers of queries and of keys.
        masked: whether there is a mask besides `causal`.
        dropping: whether weights are dropped.
        strict: whether JAX's strict dtype promotion is on.
        backend: `"cpu"`, `"gpu"` or `"tpu"`; None for the plain form.
        compute_capability: that of the CUDA device, None without one.
        tiled: whether splash attention can be computed for these lengths on these devices.
        blocks: whether attention is causal, and sequences are long enough for `"blocks"` to be faster on CPU.

    Returns:
        `"cudnn"`, `"splash"`, `"blocks"`, `"einsum"` or `"xla"`.

    Example:
        >>> import jax.numpy as jnp
        >>> settings = {"masked": False, "dropping": False, "strict": False}
        >>> gpu = {"backend": "gpu", "compute_capability": 8.0, "tiled": False, "blocks": True}
        >>> [choose_implementation(dtype, 64, (512, 512), **settings, **gpu) for dtype in (jnp.bfloat16, jnp.float32)]
        ['cudnn', 'xla']
        >>> choose_implementation(jnp.bfloat16, 64, (197, 197), **settings, **gpu)
        'xla'
    """
    if backend == "cpu" and blocks and not dropping:
        return "blocks"
    if dropping or dtype == jnp.float64 or backend == "cpu":
        return "einsum"
    if backend == "tpu":
        return "splash" if tiled and dtype == jnp.bfloat16 and not masked else "einsum"
    legal = backend == "gpu" and refused_by_cudnn(dtype, head_dim, lengths, compute_capability) is None
    if legal and not masked and head_dim <= 128:  # wider heads, which Hopper has, were not timed
        return "cudnn"
    return "einsum" if dtype in (jnp.bfloat16, jnp.float16) and strict else "xla"


def refused_by_cudnn(
    dtype: DTypeLike, head_dim: int, lengths: tuple[int, int], compute_capability: float | None
) -> str | None:
    """Say why cuDNN does not compute such attention and its gradient, or return None if it does.

    The forward pass alone would take odd lengths. JAX refuses them only once a gradient is taken, when it is too late
    for another form.

    Args:
        dtype: dtype of the queries.
        head_dim: size of a head.
        lengths: the numbers of queries and of keys.
        compute_capability: that of the CUDA device, None without one.

    Example:
        >>> import jax.numpy as jnp
        >>> refused_by_cudnn(jnp.bfloat16, 64, (197, 197), 9.0)
        'even numbers of queries and of keys, at least 2, got 197 and 197'
        >>> refused_by_cudnn(jnp.bfloat16, 64, (512, 512), 9.0) is None
        True
    """
    if compute_capability is None or compute_capability < 8.0:
        found = "there is none" if compute_capability is None else f"got {compute_capability}"
        return f"a CUDA device of compute capability 8.0 or later, {found}"
    if dtype not in (jnp.bfloat16, jnp.float16):
        return f"bfloat16 or float16, got {jnp.dtype(dtype)}"
    largest = 256 if compute_capability == 9.0 else 128
    if head_dim % 8 or not 0 < head_dim <= largest:
        return f"head_dim to be a multiple of 8 and at most {largest} on this device, got {head_dim}"
    if not all(isinstance(length, int) and length > 0 and length % 2 == 0 for length in lengths):  # int: no symbol
        return f"even numbers of queries and of keys, at least 2, got {lengths[0]} and {lengths[1]}"
    return None


def heads_first(*arrays: Array) -> tuple[str, list[Array]]:
    """Transpose keys and values `[batch, time, heads, head_dim]`, and say in which order time and features are then.

    Returns:
        `"sf"` and `[batch, heads, time, head_dim]`; or, for long sequences on CPU, `"fs"` and `[batch, heads, head_dim,
        time]`, with gradients that are computed in this layout before anything else is done to them. They are then
        products of a small transposed matrix and the weights as they lie in memory. XLA would draw a transposition that
        follows into the product, and transpose the weights instead, which took up to 3.5 times as long.

    Example:
        >>> order, (keys,) = heads_first(jnp.ones((2, 5, 3, 4)))
        >>> order, keys.shape
        ('sf', (2, 3, 5, 4))
    """
    time = arrays[0].shape[1]
    if isinstance(time, int) and time >= _LONG and fast_path("attention", "cpu"):
        return "fs", [_with_barrier(array.transpose(0, 2, 3, 1)) for array in arrays]
    return "sf", [array.swapaxes(1, 2) for array in arrays]


@jax.custom_jvp
def _with_barrier(x: Array) -> Array:
    return x


@_with_barrier.defjvp
def _barrier_of_tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return primals[0], jax.lax.optimization_barrier(tangents[0])  # linear, and its transpose is a barrier, too


def cuda_compute_capability() -> float | None:
    """Return the compute capability of this process' CUDA devices, the lowest if they differ, or None without one.

    Example:
        >>> import jax
        >>> jax.default_backend() != "cpu" or cuda_compute_capability() is None
        True
    """
    found = [str(getattr(device, "compute_capability", "")) for device in jax.local_devices()]
    cuda = [float(capability) for capability in found if re.fullmatch(r"\d+\.\d+", capability)]  # ROCm has names
    return min(cuda, default=None)


def cudnn_attention(
    queries: Array, keys: Array, values: Array, *, mask: Array | None, causal: bool, scale: float
) -> Array:
    """Compute attention by cuDNN, under `jax.vmap` and `jax.vmap` of `jax.grad` too, whatever is mapped.

    Its batching rule wants queries, keys, values and the result's cotangent all mapped, and along their first axis.
    What stays out of reach is a mapped cotangent with nothing else mapped, as `jax.jacrev` makes it: that raises.

    Raises:
        ValueError: if cuDNN does not compute attention of these arrays, or not its gradient.
    """
    lengths = queries.shape[1], keys.shape[1]
    needed = refused_by_cudnn(queries.dtype, queries.shape[-1], lengths, cuda_compute_capability())
    if needed is not None:
        raise ValueError(
            f"implementation='cudnn' needs {needed}; leave implementation out for the fastest form that does, or write "
            "implementation='xla'"
        )
    queries, keys, values = mapped_alike((queries, keys, values))
    if mask is not None:  # the kernel reads it as a bias and repeats the batch and the heads only
        mask = jnp.broadcast_to(mask, (*mask.shape[:2], queries.shape[1], keys.shape[1]))
    y = _attend_by_jax("cudnn", queries, keys, values, mask, causal, scale)
    return with_mapped_cotangent(y, queries)


@jax.custom_vjp
def mapped_alike(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return the same arrays, all mapped along their first axis if `jax.vmap` maps any of them.

    `select(condition, a, a)` is `a`, and the compiler removes it; but it is mapped where its condition is.
    """
    condition = functools.reduce(jnp.logical_or, [jnp.isnan(array[(0,) * array.ndim]) for array in arrays])
    return tuple(_select(condition, array) for array in arrays)


def _select(condition: Array, array: Array) -> Array:
    everywhere = jnp.broadcast_to(condition, array.shape)
    return jax.lax.select(everywhere, array, array)


mapped_alike.defvjp(lambda arrays: (mapped_alike(arrays), None), lambda _, cotangents: (cotangents,))


@jax.custom_vjp
def with_mapped_cotangent(y: Array, like: Array) -> Array:
    """Return `y`; its cotangent will be mapped along its first axis if `jax.vmap` maps `like`."""
    return y


def _forward(y: Array, like: Array) -> tuple[Array, Array]:
    return y, like


def _backward(like: Array, cotangent: Array) -> tuple[Array, Any]:
    return _select(jnp.isnan(like[(0,) * like.ndim]), cotangent), jnp.zeros_like(like)


with_mapped_cotangent.defvjp(_forward, _backward)

_KERNELS: dict[str, Callable[..., Array]] = {"splash": splash_attention, "cudnn": cudnn_attention}
