"""Runs in MLflow: a real server on this machine, killed and started again, and a local file."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from pipelines.tracking import RunTracker, TrackingConfig, check_tracking, read_history
from samtok.errors import ConfigError
from tests.mlflow_process import is_healthy, kill_mlflow, start_mlflow

pytestmark = pytest.mark.timeout(300)


class Server:
    """`mlflow server` in a process group of its own, with a database in `folder`."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        flags = [
            "--host=127.0.0.1",
            f"--backend-store-uri=sqlite:///{self.folder}/server.db",
            f"--artifacts-destination={self.folder}/artifacts",
        ]
        settings = {"MLFLOW_DISABLE_TELEMETRY": "true"}
        self.process = start_mlflow(self.folder, self.port, flags, settings)

    def kill(self):
        kill_mlflow(self.process)

    def steps(self, run_id, name):
        """Steps of a metric in the order in which they arrived."""
        query = "select step from metrics where run_uuid = ? and key = ? order by rowid"
        with sqlite3.connect(self.folder / "server.db") as database:
            return [step for (step,) in database.execute(query, (run_id, name))]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def local_uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('local')}/runs.db"


@pytest.fixture(params=["server", "local"])
def config(request):
    if request.param == "server":
        return TrackingConfig(uri=request.getfixturevalue("server").uri)
    return TrackingConfig(uri=request.getfixturevalue("local_uri"))


def client_of(config):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=config.uri, registry_uri=config.uri)


def artifact(config, run_id, path, folder):
    return Path(client_of(config).download_artifacts(run_id, path, str(folder)))


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    rate: float = 0.5
    names: tuple[str, ...] = ("a", "b")


@dataclass(frozen=True, kw_only=True)
class Job:
    output: Path = Path("out")
    note: str = "x" * 7000
    optimizer: Optimizer = field(default_factory=Optimizer)
    empty: dict = field(default_factory=dict)


def test_everything_logged_is_in_mlflow(config, tmp_path):
    from matplotlib.figure import Figure

    config = TrackingConfig(uri=config.uri, experiment="flows", run_name="one")
    check_tracking(config)
    figure = Figure()
    figure.subplots().plot([1, 2])
    picture = Image.new("RGB", (20, 10), "red")
    with RunTracker.open(config, tags={"task": "sft"}) as tracker:
        tracker.log_params(Job())
        tracker.log_metrics({"loss": 2, "nan": float("nan")}, step=1)
        tracker.log_metrics({"loss": 1.5}, step=2)
        tracker.set_tags({"steps": 2, "long": "t" * 9000})
        tracker.log_picture("panels/val", picture, step=500)
        picture.paste("blue", (0, 0, 20, 10))  # after the call: what was logged is red
        tracker.log_figure("figures/usage.png", figure)
        tracker.log_json("report/final.json", {"iou": 0.9, "path": Path("p")})
        tracker.log_text("notes.md", "three µ")
        tracker.log_artifact_reference("checkpoint", "s3://bucket/step_2", step=2)

    client = client_of(config)
    run = client.get_run(tracker.run_id)
    assert client.get_experiment(run.info.experiment_id).name == "flows"
    assert (run.info.run_name, run.info.status) == ("one", "FINISHED")
    params = run.data.params
    assert (params["output"], params["optimizer.rate"]) == ("out", "0.5")
    assert params["optimizer.names"] == "('a', 'b')"
    assert params["empty"] == "{}"
    assert len(params["note"]) == 6000
    assert params["note"].endswith("cut; the whole is in config.json")
    history = client.get_metric_history(tracker.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(1, 2.0), (2, 1.5)]
    assert run.data.metrics["nan"] != run.data.metrics["nan"]
    tags = run.data.tags
    assert (tags["task"], tags["steps"], len(tags["long"])) == ("sft", "2", 8000)
    assert tags["artifact.checkpoint"] == "s3://bucket/step_2"

    def read(path):
        return artifact(config, tracker.run_id, path, tmp_path)

    assert json.loads(read("config.json").read_text())["note"] == Job().note
    assert json.loads(read("report/final.json").read_text()) == {"iou": 0.9, "path": "p"}
    assert read("notes.md").read_text(encoding="utf-8") == "three µ"
    assert json.loads(read("references/checkpoint.json").read_text())["step"] == 2
    assert Image.open(read("figures/usage.png")).format == "PNG"
    # The names by which the image grid finds pictures: key, step, then the rest.
    images = [info.path for info in client.list_artifacts(tracker.run_id, "images")]
    (full,) = [p for p in images if p.startswith("images/panels~val+step+500+") and ".png" in p]
    assert Image.open(read(full)).getpixel((0, 0)) == (255, 0, 0)
    assert tags["mlflow.loggedImages"] == "True"


def test_failures_and_interrupts_show_as_status(local_uri):
    config = TrackingConfig(uri=local_uri)
    for error, status in ((RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")):
        with pytest.raises(error), RunTracker.open(config) as tracker:
            raise error
        assert client_of(config).get_run(tracker.run_id).info.status == status


def test_runs_continue_and_nest(config):
    first = RunTracker.open(config)
    first.log_params({"steps": 10, "seed": 1})
    first.log_metrics({"loss": 3.0}, step=1)
    first.finish("FAILED")
    run_id = first.run_id

    again = RunTracker.open(config, run_id)
    again.log_params({"steps": 20, "seed": 1, "more": {"x": None}})
    again.log_metrics({"loss": 2.0}, step=1)
    again.close()  # leaves it running
    run = client_of(config).get_run(run_id)
    assert (again.run_id, run.info.status) == (run_id, "RUNNING")
    assert run.data.params == {"steps": "10", "seed": "1", "more.x": "None"}
    assert run.data.tags["resumed.steps"] == "20"
    assert "resumed.seed" not in run.data.tags
    history = client_of(config).get_metric_history(run_id, "loss")
    assert [m.value for m in history] == [3.0, 2.0]  # both values of the step

    child = RunTracker.open(TrackingConfig(uri=config.uri, parent_run_id=run_id))
    child.finish()
    assert client_of(config).get_run(child.run_id).data.tags["mlflow.parentRunId"] == run_id
    with pytest.raises(ConfigError, match="no run 0123"):
        RunTracker.open(config, "0123")


def test_the_history_of_a_metric_has_one_value_for_each_step(config):
    """A training that was resumed logs some steps again."""
    run = RunTracker.open(config)
    for step, loss in ((2, 5.0), (10, 4.0), (20, 3.0)):
        run.log_metrics({"loss": loss}, step=step)
    run.close()
    time.sleep(0.01)  # the latest value is that of the latest time
    again = RunTracker.open(config, run.run_id)
    again.log_metrics({"loss": 2.5}, step=20)
    again.finish()
    history = read_history(config, run.run_id, ("loss", "never_logged"))
    assert history == {"loss": ([2, 10, 20], [5.0, 4.0, 2.5])}
    with pytest.raises(ConfigError, match="no run 0123"):
        read_history(config, "0123", ("loss",))


def test_another_process_feeds_the_same_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = check_tracking(TrackingConfig())
    tracker = RunTracker.open(config)
    code = (
        "import sys; from pipelines.tracking import RunTracker, TrackingConfig\n"
        "tracker = RunTracker(TrackingConfig(uri=sys.argv[1]), sys.argv[2])\n"
        "tracker.log_metrics({'loss': 1}, step=7); tracker.log_text('rank.txt', '0')\n"
        "tracker.close()"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    arguments = [sys.executable, "-c", code, config.uri, tracker.run_id]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    subprocess.run(arguments, cwd=elsewhere, env=os.environ | {"PYTHONPATH": path}, check=True)
    tracker.finish()
    run = client_of(config).get_run(tracker.run_id)
    assert run.data.metrics == {"loss": 1.0}
    assert (tmp_path / "mlflow.db").is_file()
    assert run.info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())
    assert len(list((tmp_path / "mlartifacts").rglob("rank.txt"))) == 1
    assert list(elsewhere.iterdir()) == []


def test_a_killed_server_loses_nothing(server, caplog):
    config = TrackingConfig(uri=server.uri)
    tracker = RunTracker.open(config)
    for step in range(50):
        tracker.log_metrics({"loss": step}, step=step)
    server.kill()
    for step in range(50, 250):
        tracker.log_metrics({"loss": step, "rate": 0.1}, step=step)
        tracker.set_tags({"last": step})
    tracker.log_picture("panels", Image.new("L", (8, 8)), step=249)
    tracker.log_params({"late": 1})
    assert not is_healthy(server.uri)
    server.start()
    tracker.finish()

    assert server.steps(tracker.run_id, "loss") == list(range(250))
    assert server.steps(tracker.run_id, "rate") == list(range(50, 250))
    run = client_of(config).get_run(tracker.run_id)
    assert (run.info.status, run.data.tags["last"]) == ("FINISHED", "249")
    assert run.data.params == {"late": "1"}
    assert len(client_of(config).list_artifacts(tracker.run_id, "images")) == 2  # and a thumbnail
    texts = [record.getMessage() for record in caplog.records]
    assert len([text for text in texts if "does not answer" in text]) == 1


def test_a_server_gone_for_good_does_not_hold_up_the_end(tmp_path, caplog):
    own = Server(tmp_path)  # nothing listens there
    config = TrackingConfig(uri=own.uri, finish_timeout_seconds=0.5, queue_capacity=5)
    tracker = RunTracker(config, "0" * 32)
    for step in range(20):
        tracker.log_metrics({"loss": step}, step=step)
    tracker.log_text("report.md", "done")
    assert tracker.register_model("m", "s3://b/m", timeout_seconds=0) is None
    tracker.finish()
    (warning,) = [r for r in caplog.records if "did not get" in r.getMessage()]
    kept = Path(warning.args[-1])
    records = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [r["kind"] for r in records][-3:] == ["artifact", "model", "status"]
    assert Path(records[-3]["file"]).read_text() == "done"
    assert [r["step"] for r in records if r["kind"] == "metrics"][-1] == 19
    assert len(records) <= 5 + 20  # what was being sent when the queue began to fill, and the rest
    tracker.log_metrics({"loss": 1}, step=21)  # after the end: nothing


def test_models_are_registered_with_an_alias(config, small_tokenizer_folder, tmp_path, monkeypatch):
    import mlflow

    with RunTracker.open(config) as tracker:
        register = tracker.register_model
        first = register("tok", small_tokenizer_folder, alias="champion", tags={"iou": 0.9})
        same = register("tok", small_tokenizer_folder, alias="same")
        remote = register("tok", "s3://samtok/tokenizers/big", alias="big")
    assert (first, same, remote) == (1, 1, 2)
    client = client_of(config)
    version = client.get_model_version_by_alias("tok", "champion")
    assert (version.run_id, version.tags["iou"]) == (tracker.run_id, "0.9")
    assert client.get_model_version_by_alias("tok", "same").version == version.version
    assert client.get_model_version_by_alias("tok", "big").source == "s3://samtok/tokenizers/big"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", config.uri)  # MLflow reads aliases from there only
    loaded = mlflow.artifacts.download_artifacts("models:/tok@champion", dst_path=str(tmp_path))
    original = {p.name: p.read_bytes() for p in Path(small_tokenizer_folder).iterdir()}
    assert {p.name: p.read_bytes() for p in Path(loaded).iterdir()} == original
    with pytest.raises(FileNotFoundError, match="nowhere"):
        RunTracker(config, tracker.run_id).register_model("tok", tmp_path / "nowhere")


def test_unusable_stores_are_found_before_any_work(tmp_path, server, monkeypatch):
    silent = Server(tmp_path).uri
    (tmp_path / "text.db").write_text("not a database, and long enough to be read as a page" * 50)
    (tmp_path / "file").write_text("")
    for uri in (
        silent,
        f"{server.uri}/elsewhere",
        f"sqlite:///{tmp_path}/text.db",
        f"sqlite:///{tmp_path}/file/runs.db",
    ):
        with pytest.raises(ConfigError, match=r"cannot be used.*--tracking\.uri"):
            check_tracking(TrackingConfig(uri=uri))
    with pytest.raises(ConfigError, match="cannot be used"):
        RunTracker.open(TrackingConfig(uri=silent))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI is 'databricks'"):
        check_tracking(TrackingConfig())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert check_tracking(TrackingConfig()).uri == server.uri


def test_disabled_tracking_does_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = check_tracking(TrackingConfig(enabled=False))
    with RunTracker.open(config, "an old run", tags={"a": 1}) as tracker:
        tracker.log_params({"a": 1})
        tracker.log_metrics({"loss": 1}, step=1)
        tracker.log_picture("p", Image.new("L", (2, 2)), step=1)
        tracker.log_json("a.json", {})
        tracker.log_artifact_reference("checkpoint", "s3://bucket/1")
        assert tracker.register_model("m", tmp_path) is None
    assert tracker.run_id is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"uri": "postgresql://host/db"}, "tracking.uri is 'postgresql"),
        ({"uri": "mlruns"}, "tracking.uri is 'mlruns'"),
        ({"uri": "http://"}, "tracking.uri is"),
        ({"uri": "https://user:secret@host"}, "MLFLOW_TRACKING_PASSWORD"),
        ({"experiment": ""}, "tracking.experiment"),
        ({"queue_capacity": 0}, "tracking.queue-capacity is 0"),
        ({"finish_timeout_seconds": -1}, "tracking.finish-timeout-seconds is -1"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, named):
    with pytest.raises(ConfigError, match=named) as refused:
        TrackingConfig(**settings)
    assert "secret" not in str(refused.value)
