"""Pictures of MLflow's own page for the docs, of a server that runs: two runs side by side.

mlflow server --backend-store-uri sqlite:///mlflow.db --port 5000
python -m tests.infra.mlflow_screenshots http://127.0.0.1:5000 docs/images RUN_ID RUN_ID
"""

import sys
from pathlib import Path

from mlflow import MlflowClient

from tests.pipelines.serving.browsing import open_browser, open_page
from tests.pipelines.serving.page_screenshots import save

SCREEN = {"viewport": {"width": 1360, "height": 900}}
PATIENCE_MS = 60_000


def compare(page, address, runs):
    """The page that shows runs side by side: settings that differ, figures, curves."""
    (experiment,) = {run.info.experiment_id for run in runs}
    listed = ",".join(f'"{run.info.run_id}"' for run in runs)
    page.goto(f'{address}/#/compare-runs?runs=[{listed}]&experiments=["{experiment}"]')
    for run in runs:
        page.get_by_text(run.info.run_name).first.wait_for(timeout=PATIENCE_MS)


if __name__ == "__main__":
    address, folder, *run_ids = sys.argv[1:]
    client = MlflowClient(address)
    runs = [client.get_run(run_id) for run_id in run_ids]
    with open_browser() as browser, open_page(browser, address, **SCREEN) as page:
        compare(page, address, runs)
        page.wait_for_timeout(3000)
        save(page, Path(folder) / "mlflow-compare.png")
