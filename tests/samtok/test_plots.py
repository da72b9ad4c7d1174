"""Plots: they draw what they are given, and read well when there is little."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from samtok import plots
from samtok.metrics.image_measures import ImageMeasures
from samtok.metrics.tokenizer_report import TokenizerTally


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, to be looked into."""
    figures = []
    render = plots._render

    def keep(figure: Figure):
        figures.append(figure)
        return render(figure)

    monkeypatch.setattr(plots, "_render", keep)
    return figures


def test_usage_is_sorted_and_summed_up_in_titles(drawn):
    histogram = np.zeros((2, 256), dtype=np.int64)
    histogram[0, [7, 90]] = 3, 1
    histogram[1] = 1
    picture = plots.usage_plot(histogram)
    assert picture.mode == "RGB"
    first, second = drawn[0].axes
    # Shares 3/4 and 1/4 have a perplexity of 4 / 3^(3/4) = 1.75.
    assert first.get_title() == "book 0: 2 of 256 codes in use, 254 dead, perplexity 1.8"
    assert second.get_title() == "book 1: 256 of 256 codes in use, 0 dead, perplexity 256.0"
    assert first.dataLim.y1 == pytest.approx(0.75)
    assert "dead codes" in [text.get_text() for text in first.get_legend().get_texts()]
    assert "dead codes" not in [text.get_text() for text in second.get_legend().get_texts()]


def test_nothing_used_is_drawn_too():
    assert plots.usage_plot(np.zeros((2, 16), dtype=np.int64)).width > 100


def test_iou_by_area_shows_the_means_of_filled_bins(drawn):
    tally = TokenizerTally()
    figures = {
        name: np.array([0.25, 0.75, 1.0], dtype=np.float32) * weight
        for name, weight in (("iou", 1), ("first_code_iou", 0.5), ("box", 0.1))
    }
    codes, areas = np.zeros((3, 2), dtype=np.int64), np.array([10, 20, 5000])
    tally.add(ImageMeasures(codes=codes, areas=areas, figures=figures))
    plots.iou_by_area_plot(tally.report())
    axes = drawn[0].axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["two words (16 bits)"].get_ydata() == pytest.approx([0.5, 1.0])
    assert lines["first word alone (8 bits)"].get_ydata() == pytest.approx([0.25, 0.5])
    assert lines["box, pixels (40 bits)"].get_linestyle() == "--"
    assert lines["box on a 16 x 16 grid (16 bits)"].get_linestyle() == "-"
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels == ["< 64\n2 masks", "< 16,384\n1 masks"]


def test_a_line_has_the_same_colour_in_all_panels_it_is_in(drawn):
    panels = {
        "reward": {"seed 0": ([1, 2, 3], [0.1, 0.2, 0.4]), "seed 1": ([1, 2], [0.3, 0.5])},
        "held-out gIoU": {"seed 1": ([0, 20], [0.70, 0.75])},
    }
    plots.curves_plot(panels)
    reward, held_out = drawn[0].axes
    assert [axes.get_title() for axes in drawn[0].axes] == ["reward", "held-out gIoU"]
    first, second = reward.get_lines()
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([1, 2, 3], [0.1, 0.2, 0.4])
    (other,) = held_out.get_lines()
    assert other.get_color() == second.get_color() != first.get_color()
