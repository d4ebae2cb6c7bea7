"""Comparison charts, as plain SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

from benchmarks.harness.model import Job, Metric
from benchmarks.harness.rounds import Results
from benchmarks.harness.stats import figures_of, spread

__all__ = ["draw"]

_STYLE = Style(
    background="white",
    plot_background="white",
    font_family="sans-serif",
    colors=("#2b6cb0",),
    title_font_size=16,
    label_font_size=12,
    value_font_size=11,
    value_colors=("#1a202c",),
)


def draw(job: Job, results: Results, folder: Path) -> list[str]:
    """Write one chart for each metric that the job wants drawn; return the names of the files."""
    drawn = []
    for metric in job.metrics:
        if job.chart and metric.name not in job.chart:
            continue
        medians = {
            name: values for name in results.rounds if (values := figures_of(results.rounds, (name, metric.name)))
        }
        if len(medians) > 1:
            file = f"{job.name}-{metric.name}.svg".replace(" ", "-").replace("/", "-per-").replace(",", "")
            _chart(job, metric, {name: spread(values).median for name, values in medians.items()}, folder / file)
            drawn.append(file)
    return drawn


def _chart(job: Job, metric: Metric, medians: dict[str, float], path: Path) -> None:
    # Drawn from the bottom up: the first contender is to stand at the top.
    names = list(reversed(medians))
    chart = pygal.HorizontalBar(
        title=f"{job.title}: {metric.name} ({metric.unit}), {metric.better} is better",
        style=_STYLE,
        width=900,
        height=90 + 34 * len(names),
        show_legend=False,
        print_values=True,
        print_values_position="top",
        value_formatter=lambda value: f"{value:,.{metric.digits}f}",
        truncate_label=-1,
        include_x_axis=True,
    )
    # Not a random one: the same figures shall give the same file.
    chart.uuid = path.stem
    chart.add_xml_filter(_without_scripts)
    chart.x_labels = names
    chart.add(metric.name, [medians[name] for name in names])
    chart.render_to_file(str(path))


def _without_scripts(root: Any) -> Any:
    """Leave out what pygal has for its tooltips, which a picture in a page does not show."""
    for parent in root.iter():
        for child in [child for child in parent if str(child.tag).endswith("script")]:
            parent.remove(child)
    return root
