"""Operations of drawn shapes, forward and gradients: jaxnets, plain JAX and PyTorch in turns.

`python -m benchmarks sweep --out FILE.md` measures, `--seed` draws other shapes for the same maps.
"""

from __future__ import annotations
