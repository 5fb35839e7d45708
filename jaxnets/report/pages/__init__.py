"""Pages about runs: the report of one, and the comparison of several. They need jinja2, figures matplotlib."""

from jaxnets.report.pages.comparison import Comparison as Comparison, compare_runs as compare_runs
from jaxnets.report.pages.run_page import write_report as write_report
