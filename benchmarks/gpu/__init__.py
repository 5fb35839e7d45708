"""Cases for a GPU. With JAXNETS_BENCHMARK_SMALL=1 they are small enough for a CPU."""

from __future__ import annotations

import os

SMALL = os.environ.get("JAXNETS_BENCHMARK_SMALL") == "1"
