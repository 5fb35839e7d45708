"""Output of a run: its folder with settings, metrics and result, plots, the progress bar, reports and comparisons.

Plots need matplotlib, the progress bar rich, and reports and comparisons jinja2; the files need none of them.
"""

from jaxnets.report.metrics_file import append_metrics as append_metrics, read_metrics as read_metrics
from jaxnets.report.pages import (
    Comparison as Comparison,
    compare_runs as compare_runs,
    write_report as write_report,
)
from jaxnets.report.plots import (
    plot_confusion as plot_confusion,
    plot_curves as plot_curves,
    plot_mistakes as plot_mistakes,
)
from jaxnets.report.progress import progress as progress
from jaxnets.report.run_folder import RunFolder as RunFolder, record_metrics as record_metrics
from jaxnets.report.working import working as working
