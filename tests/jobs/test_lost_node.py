"""Trainings and the service on a cluster of two nodes, one of which is switched off."""

import json
import re
import threading
import time
import urllib.error
import urllib.request

import pytest
import yaml

from pipelines.storage import Place
from samtok import SAMTok
from samtok.scenes import generate_scene
from samtok.words import format_codes
from tests.pipelines.grpo.small_grpo import write_inputs
from tests.pipelines.serving.conftest import as_png, as_rle
from tests.pipelines.training.drivers import find_last_step
from tests.two_nodes import free_ports

NUM_STEPS = 40


@pytest.fixture(scope="module")
def inputs(small_tokenizer_folder, tmp_path_factory):
    """A tokenizer, a model that writes mask words, and conversations."""
    fingerprint = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu").fingerprint
    return write_inputs(tmp_path_factory.mktemp("inputs"), small_tokenizer_folder, fingerprint)


@pytest.fixture
def nodes(cluster):
    """Both nodes, whatever an earlier test has switched off."""
    cluster.start_second()
    return cluster


def list_flags(job, inputs):
    """Flags of a short training that takes long enough to be disturbed."""
    learned = ("--tokenizer", inputs / "tokenizer", "--model", inputs / "model")
    learned += ("--conversations", inputs / "train", "--max-length", 256)
    return {
        "train_tokenizer": (
            *("--corpus", "scenes:64", "--init", inputs / "tokenizer"),
            *("--images-per-window", 8, "--training.num-points", 32),
        ),
        "train_sft": (
            *(*learned, "--conversations-per-step", 8, "--conversations-per-lane", 4),
            *("--conversations-per-window", 16),
        ),
        "train_grpo": (
            *(*learned, "--prompts-per-step", 4, "--prompts-per-lane", 2),
            *("--prompts-per-window", 8, "--responses-per-prompt", 4),
            *("--rollouts.prompts-per-call", 2, "--rollouts.max-new-tokens", 8),
        ),
    }[job]


@pytest.mark.parametrize("job", ["train_tokenizer", "train_sft", "train_grpo"])
def test_a_training_goes_on_when_its_node_is_replaced(nodes, submit, inputs, job, tmp_path):
    """The driver takes all CPUs of the head, so that everything else is on the other node."""
    sent = submit(
        *("python", f"jobs/{job}.py", *list_flags(job, inputs), "--output", tmp_path / "out"),
        *("--training.num-steps", NUM_STEPS, "--checkpoint-every", 4),
        *("--validate-every", 1000, "--log-every", 1, "--tracking.no-enabled"),
        flags=("--submission-id", job, "--no-wait", "--entrypoint-num-cpus", 2),
    )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    output = Place.at(tmp_path / "out")
    wait_until(lambda: find_last_step(output) > 0, 240, explain=lambda: nodes.read_log(job))
    nodes.kill_second()
    assert not (tmp_path / "out/_manifest.json").exists()
    nodes.start_second()

    assert nodes.wait_for_job(job, timeout=600) == "SUCCEEDED", nodes.read_log(job)
    summary = json.loads((tmp_path / "out/_manifest.json").read_text())["summary"]
    assert summary["steps"] == NUM_STEPS
    workers = set(re.findall(r"RayTrainWorker pid=(\d+)", nodes.read_log(job)))
    assert len(workers) == 2, "the worker on the lost node, and the one in its place"


def test_a_service_answers_while_a_node_is_lost(nodes, tmp_path):
    """Two replicas, one on each node; the proxy is the head's."""
    (port,) = free_ports(1)
    config = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [
            {
                "name": "samtok",
                "route_prefix": "/",
                "import_path": "pipelines.serving.app:build",
                "args": {
                    **{"tokenizer": "tiny", "model": "none", "host": "127.0.0.1"},
                    **{"num_replicas": 2, "max_replicas": 2, "cpus_per_replica": 0.6},
                },
            }
        ],
    }
    path = tmp_path / "service.yaml"
    path.write_text(yaml.safe_dump(config))
    deployed = nodes.run("serve", "deploy", path, "--address", nodes.address)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr

    scene = generate_scene(0, split="test")
    right = format_codes(SAMTok.from_pretrained("tiny").encode(scene.image, scene.masks[:1]))
    body = {"image": as_png(scene.image), "masks": [as_rle(scene.masks[0])]}
    answers = []
    is_over = threading.Event()

    def ask():
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/encode",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return 200, [mask["words"] for mask in json.load(answer)["masks"]]
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Retry-After")
        except OSError:
            return 0, None

    def ask_on():
        while not is_over.is_set():
            answers.append(ask())
            time.sleep(0.05)

    wait_until(lambda: count_replicas(nodes) == 2, 240)
    wait_until(lambda: ask()[0] == 200, 120)
    asking = [threading.Thread(target=ask_on) for _ in range(2)]
    for thread in asking:
        thread.start()
    wait_until(lambda: len(answers) >= 20, 120)
    nodes.kill_second()
    lost_at = len(answers)
    wait_until(lambda: len(answers) >= lost_at + 20 and count_replicas(nodes) == 2, 240)
    is_over.set()
    for thread in asking:
        thread.join()

    assert all(said == right for status, said in answers if status == 200)
    # Where the node had the ingress, Ray's proxy says 500 to the calls that were in flight there.
    lost = [answer for answer in answers if answer[0] == 500]
    assert len(lost) <= len(asking)
    refused = [answer for answer in answers if answer[0] not in (200, 500)]
    assert all(status in (429, 503) and retry_after for status, retry_after in refused), refused
    assert ask() == (200, right)


def count_replicas(nodes):
    """Replicas of the tokenizer that run, as `serve status` has it."""
    shown = nodes.run("serve", "status", "--address", nodes.address)
    applications = (yaml.safe_load(shown.stdout) or {}).get("applications", {})
    deployments = applications.get("samtok", {}).get("deployments", {})
    return deployments.get("tokenizer", {}).get("replica_states", {}).get("RUNNING", 0)


def wait_until(is_true, timeout, explain=lambda: ""):
    deadline = time.monotonic() + timeout
    while not is_true():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)
