"""What each worker of a GRPO training does, under Ray Train.

Waits for: its share of each step's batch, which the controller gives, and the other workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import ray
import ray.train.torch
import torch
from ray.actor import ActorHandle

from pipelines.grpo.audit import draw_audit, tabulate_audit, tabulate_groups
from pipelines.grpo.figures import measure_audit
from pipelines.grpo.records import BatchShare, RolloutGroup
from pipelines.grpo.weight_sync import WeightSender
from pipelines.storage import Place
from pipelines.tracking import RunTracker
from pipelines.training import quarantine
from pipelines.training.loop import UNRANKED, LoopConfig, TrainingLoop, run_worker
from samtok.grpo.advantages import compute_group_advantages
from samtok.mllm import load_extended
from samtok.mllm.grpo import GroupBatch, GrpoConfig, GrpoTrainer, ScoredGroup, make_group_batch
from samtok.tokenizer.device import choose_dtype
from samtok.training.collectives import gather_items

_TABLE_GROUPS: Final = 8
"""Groups of a batch whose responses are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GrpoJob:
    """Everything a worker needs; picklable."""

    model: str
    """What the training starts from."""
    training: GrpoConfig
    temperature: float
    """Of sampling."""
    controller: ActorHandle
    """Of the rollouts."""
    broadcasts_weights: bool
    """To the rollout actors; else they read them from the object store."""
    weight_timeout_seconds: float
    """Of a broadcast."""
    num_audited: int
    """Held-out prompts; 0: no audit."""
    output: Place
    """Of the job, for the quarantine."""
    loop: LoopConfig


def train_worker(job: GrpoJob) -> None:
    """Train from the last checkpoint, or from the start, to the end."""
    run_worker(job.loop, lambda rank, num_workers: _GrpoLoop(job, rank, num_workers))


class _GrpoLoop(TrainingLoop[GroupBatch]):
    """The loop of a GRPO training."""

    def __init__(self, job: GrpoJob, rank: int, num_workers: int) -> None:
        self.job = job
        self.num_workers = num_workers
        device = ray.train.torch.get_device()
        self.trainer = GrpoTrainer(
            load_extended(job.model, device, seed=job.training.seed),
            job.training,
            temperature=job.temperature,
            device=device,
            dtype=choose_dtype(job.training.dtype, device),
        )
        self._sender = WeightSender(
            job.controller, device, job.broadcasts_weights, job.weight_timeout_seconds
        )
        self._next_prompt = 0
        self._version = -1  # published last
        self._figures: dict[str, float] = {}
        self._shown: list[RolloutGroup] = []
        self._rejected: list[dict[str, Any]] = []
        super().__init__(job.loop, self.trainer, rank)

    def read(self) -> Iterator[list[GroupBatch]]:
        """This worker's share of the rollouts, step after step; publishes weights before each."""
        first = self.batches_read
        if self.rank == 0:
            ray.get(self.job.controller.begin.remote(first, self._next_prompt))
        gather_items([])  # nobody takes what an earlier training left
        self._version = -1  # nor are there weights that were published before
        for step in count(first):
            self._publish()
            share: BatchShare = ray.get(
                self.job.controller.take.remote(step, self.rank, self.num_workers)
            )
            self._next_prompt = share.next_prompt
            self._figures = share.figures
            self._rejected += share.rejected
            self._shown = [group for lane in share.lanes for group in lane][:_TABLE_GROUPS]
            yield [
                make_group_batch([self._score(group) for group in lane], self.trainer.mllm)
                for lane in share.lanes
            ]

    def batch_figures(self) -> dict[str, float]:
        """Of the rollouts."""
        return self._figures

    def state(self) -> dict[str, Any]:
        """Where the prompts go on."""
        return {"next_prompt": self._next_prompt}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on there."""
        self._next_prompt = state["next_prompt"]

    def after_resume(self) -> None:
        """Forget what was quarantined after the checkpoint; it will be met again."""
        if self.rank == 0:
            quarantine.forget_after(self.job.output, self.trainer.step)

    def before_checkpoint(self) -> None:
        """Write what was rejected since the last one."""
        if self.rank == 0:
            quarantine.write_rows(self.job.output, self.trainer.step, self._rejected)
        self._rejected = []

    def measure_start(self, tracker: RunTracker) -> None:
        """The audit of the model as it came, which later ones are compared with."""
        self.last_score = self._audit_together(tracker)

    def validate(self, tracker: RunTracker) -> float:
        """The audit; the score is gIoU of true masks."""
        step = self.trainer.step
        tracker.log_json(f"responses/step-{step:08d}.json", tabulate_groups(self._shown))
        return self._audit_together(tracker)

    def _audit_together(self, tracker: RunTracker) -> float:
        if not self.job.num_audited:
            return UNRANKED
        self._publish()
        (score,) = gather_items([self._audit(tracker)] if self.rank == 0 else [])
        return float(score)

    def _audit(self, tracker: RunTracker) -> float:
        step = self.trainer.step
        answers = ray.get(self.job.controller.audit.remote(step))
        if not answers:
            return UNRANKED
        left_out = float(self.job.num_audited - len(answers))
        figures = {**measure_audit(answers), "audit/num_left_out": left_out}
        tracker.log_metrics(figures, step)
        tracker.log_json(f"audit/step-{step:08d}.json", tabulate_audit(answers))
        if (picture := draw_audit(answers)) is not None:
            tracker.log_picture("audit", picture, step)
        return figures["audit/g_iou"]

    def _publish(self) -> None:
        """Give the weights to the rollouts, once for each step; every worker takes part."""
        if self._version == self.trainer.step:
            return
        self._version = self.trainer.step
        weights = self.trainer.weights()
        if self.rank == 0:
            self._sender.send(self._version, weights)

    def _score(self, group: RolloutGroup) -> ScoredGroup:
        rewards = torch.tensor([[reward.total for reward in group.rewards]])
        advantages = compute_group_advantages(
            rewards, normalize_by_std=self.job.training.normalize_by_std
        ).advantages[0]
        return ScoredGroup(group.prompt, group.answers, advantages)
