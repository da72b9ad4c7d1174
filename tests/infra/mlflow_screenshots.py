"""Pictures of MLflow's own page for the docs, of a server that runs.

The stages of a reproduction, or some runs side by side:

python -m tests.infra.tracking_server   # and, with what it prints, in another shell:
python jobs/reproduce_method.py --preset laptop --output out/reproduce
python -m tests.infra.mlflow_screenshots docs/images/mlflow-stages.png --stages-of RUN_ID
python -m tests.infra.mlflow_screenshots docs/images/mlflow-runs.png --runs RUN_ID RUN_ID
"""

import argparse
import os
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient

from tests.infra.tracking_server import SIGN_IN
from tests.pipelines.serving.browsing import open_browser, open_page
from tests.pipelines.serving.page_screenshots import save

SCREEN = {"viewport": {"width": 1500, "height": 1000}}
WIDE = {"viewport": {"width": 2900, "height": 1180}}  # charts that hold two pictures side by side
PATIENCE_MS = 60_000
EXPANDER = ".ag-cell-value button"
CHART = "[data-testid='experiment-view-compare-runs-card']"
CHART_MENU = "[data-testid='experiment-view-compare-runs-card-menu']"
CURVES = "validation/(iou|first_code_iou|boundary_f)$"
PICTURES = ("panel", "code_usage")


def open_charts(page, address, experiment_id, condition):
    """The page that draws the metrics and pictures of runs together."""
    page.goto(
        f"{address}/#/experiments/{experiment_id}/runs?compareRunsMode=CHART"
        f"&workflowType=machine_learning&searchFilter={quote(condition)}"
    )


def open_stages(page, address, parent_id):
    """The runs below one."""
    client = MlflowClient(address)
    parent = client.get_run(parent_id)
    below = f"tags.`mlflow.parentRunId` = '{parent_id}'"
    children = client.search_runs([parent.info.experiment_id], below)
    open_charts(page, address, parent.info.experiment_id, below)
    wait_for_names(page, [parent])
    page.locator(EXPANDER).first.click()
    wait_for_names(page, children)


def open_runs(page, address, run_ids):
    """Runs of one experiment."""
    runs = [MlflowClient(address).get_run(run_id) for run_id in run_ids]
    ids = ", ".join(f"'{run_id}'" for run_id in run_ids)
    open_charts(page, address, runs[0].info.experiment_id, f"attributes.run_id IN ({ids})")
    wait_for_names(page, runs)


def show_last_pictures(page):
    """A curve, and the pictures of the last step without the parameters that push them aside."""
    page.get_by_placeholder("Search metric charts").fill(CURVES)
    for name in PICTURES:
        chart = page.locator(CHART).filter(has=page.get_by_text(name, exact=True))
        chart.locator(CHART_MENU).click()
        page.get_by_role("menuitem", name="Configure").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("switch").click()
        step = dialog.get_by_role("spinbutton")
        step.fill(dialog.get_by_role("slider").get_attribute("aria-valuemax"))
        step.press("Enter")
        dialog.get_by_role("button", name="Save changes").click()
        dialog.wait_for(state="hidden")


def wait_for_names(page, runs):
    for run in runs:
        page.get_by_text(run.info.run_name).first.wait_for(timeout=PATIENCE_MS)


def tidy(page):
    """Without the panel that opens by itself."""
    page.wait_for_timeout(2000)
    closing = page.get_by_role("button", name="Close")
    if closing.count():
        closing.first.click()
    page.keyboard.press("Escape")


def settle(page):
    """With all charts drawn, and nothing pointed at."""
    page.mouse.move(1, 1)
    page.wait_for_timeout(5000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    shown = parser.add_mutually_exclusive_group(required=True)
    shown.add_argument("--stages-of", metavar="RUN_ID")
    shown.add_argument("--runs", metavar="RUN_ID", nargs="+")
    args = parser.parse_args()
    address = os.environ["MLFLOW_TRACKING_URI"]
    screen = WIDE if args.runs else SCREEN
    with open_browser() as browser, open_page(browser, address, **screen, **SIGN_IN) as page:
        if args.runs:
            open_runs(page, address, args.runs)
            tidy(page)
            show_last_pictures(page)
        else:
            open_stages(page, address, args.stages_of)
            tidy(page)
        settle(page)
        save(page, args.picture)
