"""Output of a run: its folder with settings, metrics and result, plots, and the progress bar.

`pip install 'jaxnets[experiments]'` installs matplotlib and rich; the files need neither.
"""

from jaxnets.report.metrics_file import append_metrics, read_metrics
from jaxnets.report.plots import plot_confusion, plot_curves, plot_mistakes
from jaxnets.report.progress import progress
from jaxnets.report.run_folder import RunFolder, record_metrics

__all__ = [
    "RunFolder",
    "append_metrics",
    "plot_confusion",
    "plot_curves",
    "plot_mistakes",
    "progress",
    "read_metrics",
    "record_metrics",
]
