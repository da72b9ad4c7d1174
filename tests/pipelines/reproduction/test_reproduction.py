"""The whole method: its commands, going on where it stopped, and its page."""

import json

import mlflow
import pytest
from PIL import Image

from pipelines.reproduction import curves
from pipelines.reproduction import run as run_module
from pipelines.reproduction.plan import (
    REPRODUCTION_PRESETS,
    ReproduceConfig,
    Stage,
    plan_stages,
)
from pipelines.reproduction.report import write_report
from pipelines.reproduction.run import run_reproduction
from pipelines.storage import Place
from pipelines.tracking import RunTracker
from pipelines.tracking_config import TrackingConfig
from samtok.errors import CheckpointError, ConfigError
from tests.commands import parse_job

SMOKE = REPRODUCTION_PRESETS["smoke"]


def test_every_stage_is_a_command_that_reads_what_earlier_ones_wrote(tmp_path):
    root = str(tmp_path / "out")
    config = ReproduceConfig(
        output=root, **{**SMOKE, "train_tokenizer": "--preset tiny", "seeds": (3, 5)}
    )
    stages = plan_stages(config)
    assert [stage.name for stage in stages] == [
        *("corpus-train", "corpus-test", "tokenizer", "words-train", "words-test"),
        *("tokenizer-report", "dialogues-train", "dialogues-test"),
        *("sft", "evaluation", "grpo-3", "grpo-5", "grpo-evaluation"),
    ]
    written = set()
    for stage in stages:
        settings = parse_job(stage.job, list(stage.flags))
        assert settings.output == f"{root}/{stage.name}"
        flags = [flag for flag in stage.flags if flag != settings.output]
        read = {flag.removeprefix(f"{root}/").split("/")[0] for flag in flags if root in flag}
        assert read <= written, f"{stage.name} reads what is not there yet"
        written.add(stage.name)
    by_name = {stage.name: parse_job(stage.job, list(stage.flags)) for stage in stages}
    assert by_name["sft"].tokenizer == f"{root}/tokenizer/tokenizer"
    assert [by_name[f"grpo-{seed}"].training.seed for seed in (3, 5)] == [3, 5]
    for name in ("evaluation", "grpo-evaluation"):
        assert by_name[name].conversations == f"{root}/dialogues-test"
        assert by_name[name].model == f"{root}/sft/model"
        assert by_name[name].limit == 2
    assert by_name["grpo-evaluation"].compare_with == (
        f"{root}/grpo-3/model",
        f"{root}/grpo-5/model",
    )


def test_without_grpo_the_fine_tuned_model_alone_is_measured(tmp_path):
    config = ReproduceConfig(output=str(tmp_path), **{**SMOKE, "train_grpo": ""})
    stages = plan_stages(config)
    assert not any(stage.job == "train_grpo" for stage in stages)
    assert stages[-1].name == "evaluation"
    assert "--compare-with" not in stages[-1].flags


def test_grpo_may_ask_other_questions_than_fine_tuning(tmp_path):
    others = "--weights.referring-segmentation 3 --weights.scene-graph 0"
    config = ReproduceConfig(output=str(tmp_path), **{**SMOKE, "build_prompts": others})
    by_name = {s.name: parse_job(s.job, list(s.flags)) for s in plan_stages(config)}
    assert by_name["prompts-train"].weights.referring_segmentation == 3
    assert by_name["grpo-0"].conversations == (f"{tmp_path}/prompts-train",)
    assert by_name["grpo-evaluation"].conversations == f"{tmp_path}/prompts-test"
    assert by_name["sft"].conversations == (f"{tmp_path}/dialogues-train",)
    assert by_name["evaluation"].conversations == f"{tmp_path}/dialogues-test"


def test_what_is_learned_from_may_differ_from_what_is_measured_on(tmp_path):
    flags = {"build_dialogues": "--json-share 0.5", "build_sft": "--no-target-share 0.2"}
    config = ReproduceConfig(
        output=str(tmp_path), **SMOKE, **flags, ingest_val=SMOKE["ingest_test"]
    )
    by_name = {s.name: parse_job(s.job, list(s.flags)) for s in plan_stages(config)}
    built = [by_name[f"dialogues-{split}"] for split in ("train", "val", "test")]
    assert [one.json_share for one in built] == [0.5, 0.5, 0.5]
    assert [one.no_target_share for one in built] == [0.2, 1.0, 1.0]


def test_the_laptops_stages_are_read_by_their_jobs_and_hold_out_what_checkpoints_are_chosen_by(
    tmp_path,
):
    config = ReproduceConfig(output=str(tmp_path), **REPRODUCTION_PRESETS["laptop"])
    by_name = {s.name: parse_job(s.job, list(s.flags)) for s in plan_stages(config)}
    assert by_name["corpus-val"].split == "val"
    assert by_name["sft"].validation_conversations == (f"{tmp_path}/dialogues-val",)
    for seed in (0, 1, 2):
        grpo = by_name[f"grpo-{seed}"]
        assert grpo.audit_conversations == f"{tmp_path}/prompts-val"
        assert grpo.conversations == (f"{tmp_path}/prompts-train",)
    assert by_name["evaluation"].conversations == f"{tmp_path}/dialogues-test"
    assert by_name["grpo-evaluation"].conversations == f"{tmp_path}/prompts-test"
    assert by_name["grpo-evaluation"].limit == 1000


def test_curves_are_those_of_the_stages_runs(tmp_path, monkeypatch, caplog):
    tracking = TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db")
    drawn = []
    monkeypatch.setattr(
        curves, "curves_plot", lambda panels: drawn.append(panels) or Image.new("RGB", (8, 8))
    )
    place = Place.at(str(tmp_path))
    stages = []
    for name, metric in (("sft", "loss"), ("grpo-0", "audit/g_iou"), ("grpo-1", "audit/g_iou")):
        job = "train_sft" if name == "sft" else "train_grpo"
        stages.append(Stage(name=name, job=job, flags=()))
        with RunTracker.open(tracking) as run:
            run.log_metrics({metric: len(stages)}, step=5)
        written = {"summary": {"run_id": run.run_id}}
        place.write_bytes(f"{name}/_manifest.json", json.dumps(written).encode())
    stages.append(Stage(name="grpo-2", job="train_grpo", flags=()))
    place.write_bytes("grpo-2/_manifest.json", b'{"summary": {"run_id": "0123"}}')
    stages.append(Stage(name="evaluation", job="evaluate_model", flags=()))

    curves.draw_curves(place, stages, tracking)

    assert drawn == [
        {"loss, nats per answer token": {"loss": ([5], [1.0])}},
        {"held-out gIoU": {"grpo-0": ([5], [2.0]), "grpo-1": ([5], [3.0])}},
    ]
    assert "no curves of grpo-2" in caplog.text
    assert place.list_files("curves") == ["curves/train_grpo.png", "curves/train_sft.png"]


def test_a_seed_given_twice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="give each once"):
        ReproduceConfig(output=str(tmp_path), **{**SMOKE, "seeds": (1, 1)})


@pytest.mark.ray
def test_stopped_by_a_failure_it_goes_on_with_that_stage(ray_cluster, tmp_path, monkeypatch):
    """Two ingestions; the second has nothing to read at first."""
    monkeypatch.setattr(run_module, "write_report", lambda output, stages, seconds: "# done")
    tracking = TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db")
    output = tmp_path / "out"
    coco = f"--source coco --annotations {tmp_path}/instances.json --images {tmp_path}"
    config = ReproduceConfig(
        output=str(output), **{**SMOKE, "ingest_test": coco}, tracking=tracking
    )
    monkeypatch.setattr(run_module, "plan_stages", lambda config: plan_stages(config)[:2])
    with pytest.raises(CheckpointError, match="stage corpus-test ended with status 2"):
        run_reproduction(config)
    first = (output / "corpus-train/_manifest.json").stat().st_mtime_ns

    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    image = {"id": 1, "file_name": "1.png", "height": 8, "width": 8}
    listed = {"images": [image], "annotations": [], "categories": []}
    (tmp_path / "instances.json").write_text(json.dumps(listed))
    summary = run_reproduction(config)

    assert (output / "corpus-train/_manifest.json").stat().st_mtime_ns == first
    assert set(summary.seconds) == {"corpus-train", "corpus-test"}
    client = mlflow.MlflowClient(tracking.uri)
    run = client.get_run(summary.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "reproduce_method"
    assert run.data.metrics["seconds/corpus-train"] > 0
    (experiment,) = client.search_experiments(filter_string="name = 'samtok'")
    assert len(client.search_runs([experiment.experiment_id])) == 1, "it went on in the same run"


def test_the_page_compares_models_and_holds_all_reports(tmp_path):
    place = Place.at(str(tmp_path))
    stages = [
        Stage(name=name, job=job, flags=("--output", name))
        for name, job in (
            ("sft", "train_sft"),
            ("evaluation", "evaluate_model"),
            ("grpo-evaluation", "evaluate_model"),
        )
    ]

    def figures(g_iou):
        return {"referring_segmentation": {"g_iou": g_iou, "n_acc": 0.5, "t_acc": None}}

    blinded = {"model": figures(0.6), "image blanked": figures(0.1)}
    rewarded = {
        "model": figures(0.65),
        "out/grpo-0/model": figures(0.7),
        "out/grpo-1/model": figures(0.8),
    }
    for stage, reports in (("evaluation", blinded), ("grpo-evaluation", rewarded)):
        place.write_bytes(f"{stage}/report.json", json.dumps({"reports": reports}).encode())
    place.write_bytes("evaluation/report.md", b"# Evaluation\n\n## Cats <b>\n")
    place.write_bytes("grpo-evaluation/report.md", b"# Evaluation\n\n## Dogs\n")
    place.write_bytes("evaluation/answers-x.png", b"")
    place.write_bytes("tokenizer-report/report.md", b"# Tokenizer\n")
    place.write_bytes("curves/train_sft.png", b"")

    seconds = {"sft": 90.0, "evaluation": 30.0, "grpo-evaluation": 6.0}
    markdown = write_report(place, stages, seconds)

    assert [row for row in markdown.splitlines() if "g iou" in row] == [
        "| referring segmentation | g iou | 0.600 | 0.100 |",
        "| referring segmentation | g iou | 0.650 | 0.700, 0.800 | +0.100 ± 0.071 |",
    ]
    assert "t acc" not in markdown
    assert "| sft | 1.5 |" in markdown
    assert "python jobs/train_sft.py --output sft" in markdown
    assert "#### Cats <b>" in markdown
    assert "#### Dogs" in markdown
    page = (tmp_path / "report.html").read_text()
    assert "<td>+0.100 ± 0.071</td>" in page
    assert "Cats &lt;b&gt;" in page
    assert 'src="evaluation/answers-x.png"' in page
    assert 'src="curves/train_sft.png"' in page

    (tmp_path / "tokenizer-report/report.md").unlink()
    with pytest.raises(CheckpointError, match=r"report.md is gone"):
        write_report(place, stages, seconds)
