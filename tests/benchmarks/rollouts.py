"""GRPO's rollouts on Ray: two actors against one, and generation beside training against in turns.

The same few steps of `jobs/train_grpo.py` three times on one cluster of this machine, one CPU for
the trainer and one for each actor:

- one actor, generation and training in turns;
- two actors, in turns;
- one actor that generates the next batch while this one is trained on (`max_staleness` 1).

    python tests/benchmarks/rollouts.py --conversations out/dialogues [--steps 10]

Prints one JSON object: medians over the steps, without the first two of each training, of tokens
sampled per second, responses trained on per second, and the shares of time that trainer and actors
are idle; and ratios to the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

import ray
from mlflow import MlflowClient

from pipelines.grpo.rollout_config import RolloutConfig
from pipelines.grpo.run import TrainGrpoConfig, run_grpo
from pipelines.tracking_config import TrackingConfig
from samtok.mllm.grpo import GrpoConfig

WAYS: Final[dict[str, dict[str, Any]]] = {
    "one actor": {"num_actors": 1},
    "two actors": {"num_actors": 2},
    "one actor, overlap": {"num_actors": 1, "max_staleness": 1},
}
FIGURES: Final = {
    "tokens_per_second": "rollouts/tokens_per_second",
    "responses_per_second": "responses_per_second",
    "trainer_idle_share": "data_wait_share",
    "actors_idle_share": "rollouts/idle_share",
}
WARM_UP: Final = 2


def train(args: argparse.Namespace, folder: Path, rollouts: dict[str, Any]) -> dict[str, float]:
    """Figures of one training."""
    tracking = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")
    config = TrainGrpoConfig(
        output=str(folder / "out"),
        conversations=(args.conversations,),
        model=args.model,
        prompts_per_step=32,
        responses_per_prompt=16,
        prompts_per_lane=4,
        max_length=768,
        validate_every=args.steps,
        checkpoint_every=args.steps,
        rollouts=RolloutConfig(prompts_per_call=8, max_new_tokens=48, temperature=0.7, **rollouts),
        training=GrpoConfig(num_steps=args.steps, freeze_vision=True, freeze_projector=True),
        tracking=tracking,
        register="",
    )
    run_id = run_grpo(config).run_id
    client = MlflowClient(tracking.uri)
    return {
        name: statistics.median(
            each.value for each in client.get_metric_history(run_id, key) if each.step > WARM_UP
        )
        for name, key in FIGURES.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conversations", required=True, help="output of jobs/build_dialogues.py")
    parser.add_argument("--model", default="tiny-chat")
    parser.add_argument("--steps", type=int, default=10, help="of each training; 3 or more")
    args = parser.parse_args()
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    figures = {}
    for name, rollouts in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = train(args, Path(folder), rollouts)
    ray.shutdown()
    base = figures["one actor"]
    ratios = {
        name: {key: own[key] / base[key] for key in ("tokens_per_second", "responses_per_second")}
        for name, own in figures.items()
        if own is not base
    }
    print(json.dumps({"steps": args.steps, "figures": figures, "ratios": ratios}, indent=2))


if __name__ == "__main__":
    main()
