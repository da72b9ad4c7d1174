"""Dashboard, alerts and scraping: every figure they name is one that something writes."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import ray.dashboard.modules.metrics.dashboards as rays_own
import yaml

from pipelines.serving.figures import Figures

FOLDER = Path(__file__).parents[2] / "infra/monitoring"
NAME = re.compile(r"\b(?:samtok|ray)_[a-z_]+\b")


def dashboard_expressions():
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "5m")


def alert_expressions():
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


EXPRESSIONS = [*dashboard_expressions(), *alert_expressions()]


@pytest.fixture(scope="module")
def written():
    """Names that our service and Ray write."""
    ours = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", Figures().write().decode(), re.MULTILINE):
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        ours |= {name + ending for ending in endings}
    sources = "\n".join(path.read_text() for path in Path(rays_own.__path__[0]).glob("*.py"))
    return ours | set(NAME.findall(sources))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression_is_promql(expression):
    promql_parser.parse(expression)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_figures_exist(expression, written):
    labels_and_text = re.sub(r"\{[^}]*\}|(?:by|ignoring) \([^)]*\)", "", expression)
    named = set(NAME.findall(labels_and_text))
    assert named
    assert named <= written


def test_panels_have_names_of_their_own_and_lie_apart():
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


@pytest.mark.parametrize("path", sorted(FOLDER.glob("prometheus*.yaml")), ids=lambda p: p.stem)
def test_prometheus_accepts_the_file_but_for_the_key_that_is_not_here(path, tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool; Debian's package prometheus has it")
    key = tmp_path / "key"
    key.write_text("k" * 24)
    config = yaml.safe_load(path.read_text().replace("/etc/prometheus/samtok-api-key", str(key)))
    for scraping in config["scrape_configs"]:  # Debian builds Prometheus without Kubernetes
        scraping.pop("kubernetes_sd_configs", None)
    (tmp_path / path.name).write_text(yaml.safe_dump(config))
    shutil.copy(FOLDER / "alerts.yaml", tmp_path)
    shown = subprocess.run(
        [promtool, "check", "config", tmp_path / path.name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
