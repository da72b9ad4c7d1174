"""A picture of MLflow's own page for the docs, of a server that runs: the stages of a reproduction.

python -m tests.infra.tracking_server   # and, with what it prints, in another shell:
python jobs/reproduce_method.py --preset laptop --output out/reproduce
python -m tests.infra.mlflow_screenshots docs/images RUN_ID_OF_THE_WHOLE
"""

import os
import sys
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient

from tests.infra.tracking_server import SIGN_IN
from tests.pipelines.serving.browsing import open_browser, open_page
from tests.pipelines.serving.page_screenshots import save

SCREEN = {"viewport": {"width": 1500, "height": 1000}}
PATIENCE_MS = 60_000
EXPANDER = ".ag-cell-value button"


def open_charts(page, address, parent, children):
    """The page that draws the metrics and pictures of all runs together."""
    chosen = quote(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    page.goto(
        f"{address}/#/experiments/{parent.info.experiment_id}/runs?compareRunsMode=CHART"
        f"&workflowType=machine_learning&searchFilter={chosen}"
    )
    wait_for_names(page, [parent])
    page.locator(EXPANDER).first.click()
    wait_for_names(page, children)
    tidy(page)


def wait_for_names(page, runs):
    for run in runs:
        page.get_by_text(run.info.run_name).first.wait_for(timeout=PATIENCE_MS)


def tidy(page):
    """Without the panel that opens by itself, and with all charts drawn."""
    closing = page.get_by_role("button", name="Close")
    if closing.count():
        closing.first.click()
    page.keyboard.press("Escape")
    page.mouse.move(1, 1)
    page.wait_for_timeout(5000)


def list_stages(client, parent_id):
    """The run of the whole, and those below it."""
    parent = client.get_run(parent_id)
    below = f"tags.`mlflow.parentRunId` = '{parent_id}'"
    return parent, list(client.search_runs([parent.info.experiment_id], below))


if __name__ == "__main__":
    folder, parent_id = sys.argv[1:]
    address = os.environ["MLFLOW_TRACKING_URI"]
    stages = list_stages(MlflowClient(address), parent_id)
    with open_browser() as browser, open_page(browser, address, **SCREEN, **SIGN_IN) as page:
        open_charts(page, address, *stages)
        save(page, Path(folder) / "mlflow-stages.png")
