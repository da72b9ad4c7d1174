"""GRPO on Ray: from a fine-tuned model and conversations to one that is rewarded for its answers.

`run_grpo` checks everything first, then starts or resumes the training, and at the end writes the
best weights as a folder in hub layout.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.cluster import actor_request, connect, count_actors, model_settings
from pipelines.corpus_reader import open_words
from pipelines.grpo.audit import read_audit_tasks
from pipelines.grpo.controller import BatchPlan, RolloutController
from pipelines.grpo.records import AuditTask
from pipelines.grpo.rollout_actor import STAGE, RolloutActor, RolloutSettings, load_similarity
from pipelines.grpo.rollout_config import RolloutConfig
from pipelines.grpo.worker import GrpoJob, train_worker
from pipelines.setting_checks import at_least, divides
from pipelines.storage import Place, find_source
from pipelines.tracking import check_tracking
from pipelines.tracking_config import TrackingConfig
from pipelines.training.conversations import ConversationCorpus, open_training_conversations
from pipelines.training.fit import (
    choose_best,
    fit,
    loop_config,
    open_run,
    publish,
    read_summary,
    write_manifest,
)
from pipelines.training.hub_folder import MODEL_FOLDER, REGISTERED_MODEL, write_model
from pipelines.training.job_config import TrainingJobConfig
from pipelines.training.plan import Mixture, check_lanes
from pipelines.training.quarantine import count_reasons
from pipelines.training.summary import TrainingSummary
from samtok.errors import ConfigError
from samtok.mllm import MaskTokenizerReference, load_processor
from samtok.mllm.grpo import GrpoConfig
from samtok.rewards import Composition, RewardConfig
from samtok.tokenizer import SAMTok
from samtok.words import MASK_START


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainGrpoConfig(TrainingJobConfig):
    """Settings of the job."""

    conversations: tuple[str, ...]
    """Where prompts and right answers come from: outputs of jobs/build_dialogues.py, local or
    s3://. The last answer of each is asked for."""
    conversation_weights: tuple[float, ...] = ()
    """Share of each in what is asked; default: by their numbers of conversations."""
    model: str
    """Model to start from, which writes mask words already: OUTPUT/model of jobs/train_sft.py, or a
    hub id. It is the reference of the penalty too."""
    tokenizer: str = "tiny"
    """Mask tokenizer that the conversations were made with: tiny, a folder, or a hub id."""
    prompts_per_step: int = 32
    """Prompts of a step, over all workers."""
    responses_per_prompt: int = 8
    """Answers to each prompt, which are compared with each other; 2 or more."""
    prompts_per_lane: int = 8
    """Prompts of one backward pass, each with all its answers; divides --prompts-per-step by
    --training.num-minibatches. A worker with several accumulates gradients. Does not change the
    result, the number of workers neither."""
    prompts_per_window: int = 256
    """Prompts shuffled together."""
    max_length: int = 2048
    """Most tokens of prompt and answer, the image's included; prompts that leave too few are
    quarantined."""
    audit_conversations: str = ""
    """Held-out conversations whose answers are audited at every validation; empty: no audit, and
    the last weights are the result, not the best."""
    audit_words: str = ""
    """The mask words that those were made with, output of jobs/tokenize_corpus.py; empty: where
    their manifest says."""
    audit_size: int = 200
    """The first so many of them."""
    audit_drawn: int = 8
    """So many of them as a picture."""
    rollouts: RolloutConfig = field(default_factory=RolloutConfig)
    """Actors, and how they sample."""
    rewards: RewardConfig = field(default_factory=RewardConfig)
    """What answers are worth."""
    training: GrpoConfig = field(default_factory=GrpoConfig)
    """The step itself."""
    log_every: int = 1
    """Steps between figures in MLflow."""
    checkpoint_every: int = 20
    """Steps between checkpoints: at most this many are lost."""
    validate_every: int = 20
    """Steps between audits, and between tables of responses."""
    merge_lora: bool = True
    """Add LoRA adapters to the weights at the end; otherwise they are written beside them."""
    register: str = REGISTERED_MODEL
    """Registered model that the result becomes a version of; empty: none."""

    def __post_init__(self) -> None:
        TrainingJobConfig.__post_init__(self)  # super() does not find its way in slotted classes
        for name in ("prompts_per_step", "prompts_per_lane", "prompts_per_window", "audit_size"):
            at_least(1, name, getattr(self, name))
        at_least(0, "audit_drawn", self.audit_drawn)
        at_least(2, "responses_per_prompt", self.responses_per_prompt)
        minibatches = self.training.num_minibatches
        divides("training.num_minibatches", minibatches, "prompts_per_step", self.prompts_per_step)
        share = self.prompts_per_step // minibatches
        divides("prompts_per_lane", self.prompts_per_lane, "prompts_per_step", share)
        check_lanes(share // self.prompts_per_lane, self.num_workers)
        if self.rollouts.engine == "vllm" and self.training.lora_rank:
            raise ConfigError(
                "--rollouts.engine vllm is given whole weights, no adapters; set "
                "--training.lora-rank 0, or take transformers"
            )
        if self.max_length <= self.rollouts.max_new_tokens:
            raise ConfigError(
                f"--max-length is {self.max_length} and --rollouts.max-new-tokens "
                f"{self.rollouts.max_new_tokens}; prompts need room beside the answer"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class GrpoSummary(TrainingSummary):
    """What a GRPO training left behind."""

    model: str
    """Folder in hub layout."""
    audit_g_iou: float | None
    """Of the best checkpoint, on held-out prompts; None without an audit."""
    quarantined: dict[str, int]
    """Prompts met that could not be asked, by reason."""

    def rows(self) -> dict[str, str]:
        """The model, its gIoU, and what was left out."""
        shown = "not audited" if self.audit_g_iou is None else f"{self.audit_g_iou:.4f}"
        return {
            "model": self.model,
            "steps": f"{self.steps:,}",
            "held-out gIoU of the best checkpoint": shown,
            **{f"quarantined: {reason}": f"{n:,}" for reason, n in self.quarantined.items()},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Checked:
    """Settings that have been found usable, resolved."""

    corpora: tuple[ConversationCorpus, ...]
    mixture: Mixture
    audited: list[AuditTask]
    reference: MaskTokenizerReference
    codebook_size: int
    tracking: TrackingConfig


def run_grpo(config: TrainGrpoConfig) -> GrpoSummary:
    """Train a model on rewards; resumes what an earlier run with the same settings left, if any.

    Raises:
        ConfigError: the settings do not fit what they name; nothing has run.
        CheckpointError: model or tokenizer cannot be loaded, the output belongs to other settings,
            or training failed.
    """
    began = time.monotonic()
    output = Place.at(config.output)
    checked = check_grpo(config)
    identity = _identify(config, checked)
    if finished := read_summary(GrpoSummary, output, identity, began=began):
        return finished
    fingerprint = checked.reference.fingerprint
    tags = {
        "stage": STAGE,
        "tokenizer_fingerprint": fingerprint,
        "conversation_digests": " ".join(identity["conversations"]),
    }
    with open_run(output, checked.tracking, identity, tags) as tracker:
        tracker.log_params(dataclasses.asdict(config))
        connect()
        with _controller(config, checked) as controller:
            job = _build_job(config, checked, controller, output, tracker.run_id)
            best, score = choose_best(fit(train_worker, job, config, output))
        write_model(
            best,
            output,
            model=config.model,
            training=config.training,
            reference=checked.reference,
            merge_lora=config.merge_lora,
        )
        address = output.uri(MODEL_FOLDER)
        done = GrpoSummary(
            output=output.uri(),
            model=address,
            steps=config.training.num_steps,
            audit_g_iou=score if score >= 0 else None,
            quarantined=count_reasons(output),
            run_id=tracker.run_id,
            model_version=publish(config, tracker, address, "model", fingerprint),
            seconds=time.monotonic() - began,
        )
        write_manifest(output, STAGE, config, identity, fingerprint, done)
    return done


def check_grpo(config: TrainGrpoConfig) -> _Checked:
    """Find out, before any cluster work, whether the settings fit what they name.

    Raises:
        ConfigError: names what does not, and what to change.
        CheckpointError: the model's processor or the tokenizer cannot be loaded.
    """
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    corpora = tuple(
        open_training_conversations(place, tokenizer.fingerprint) for place in config.conversations
    )
    mixture = Mixture.of(
        (corpus.starts for corpus in corpora),
        config.conversation_weights,
        num_lanes=1,
        images_per_window=config.prompts_per_window,
        seed=config.training.seed,
    )
    processor = load_processor(config.model)
    if config.rollouts.engine == "vllm" and MASK_START not in processor.tokenizer.get_vocab():
        raise ConfigError(
            f"--rollouts.engine vllm loads {config.model} as it is, which has no mask words; "
            "fine-tune it by jobs/train_sft.py first, or take transformers"
        )
    Composition(config.rewards, load_similarity(config.rewards, config.tokenizer, tokenizer))
    return _Checked(
        corpora=corpora,
        mixture=mixture,
        audited=_read_audited(config, tokenizer.fingerprint),
        reference=MaskTokenizerReference(name=config.tokenizer, fingerprint=tokenizer.fingerprint),
        codebook_size=tokenizer.config.codebook_size,
        tracking=check_tracking(config.tracking),
    )


def _read_audited(config: TrainGrpoConfig, fingerprint: str) -> list[AuditTask]:
    if not config.audit_conversations:
        return []
    corpus = open_training_conversations(config.audit_conversations, fingerprint)
    words = config.audit_words or corpus.files.manifest["identity"]["words"]
    return read_audit_tasks(corpus, open_words(words), config.audit_size, config.audit_drawn)


@contextmanager
def _controller(config: TrainGrpoConfig, checked: _Checked) -> Iterator[ActorHandle]:
    """The controller with its actors, gone at the end.

    It lives on the node of this process: one node less to lose.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    controller = (
        ray.remote(RolloutController)
        .options(num_cpus=0, max_concurrency=100, scheduling_strategy=here)
        .remote(
            corpora=checked.corpora,
            mixture=checked.mixture,
            plan=BatchPlan(
                num_steps=config.training.num_steps,
                prompts_per_step=config.prompts_per_step,
                prompts_per_lane=config.prompts_per_lane,
                num_minibatches=config.training.num_minibatches,
            ),
            audited=checked.audited,
            config=config.rollouts,
            start_actor=_actor_starter(config, checked),
            num_actors=count_actors(config.rollouts),
        )
    )
    try:
        yield controller
    finally:
        ray.kill(controller)  # the actors are its own, and go with it


def _actor_starter(config: TrainGrpoConfig, checked: _Checked) -> Callable[[], ActorHandle]:
    settings = RolloutSettings(
        model=find_source(config.model),
        training=config.training,
        sampling=config.rollouts.sampling(),
        greedy=config.rollouts.greedy(),
        group_size=config.responses_per_prompt,
        max_length=config.max_length,
        tokenizer=find_source(config.tokenizer),
        codebook_size=checked.codebook_size,
        rewards=config.rewards,
        engine=config.rollouts.engine,
        gpu_memory_share=config.rollouts.gpu_memory_share,
        timeout_seconds=config.rollouts.timeout_seconds,
        **model_settings(config.rollouts),
    )
    return partial(_start_actor, settings, actor_request(config.rollouts))


def _start_actor(settings: RolloutSettings, request: dict[str, Any]) -> ActorHandle:
    return ray.remote(RolloutActor).options(**request).remote(settings)


def _build_job(
    config: TrainGrpoConfig,
    checked: _Checked,
    controller: ActorHandle,
    output: Place,
    run_id: str | None,
) -> GrpoJob:
    return GrpoJob(
        model=find_source(config.model),
        training=config.training,
        temperature=config.rollouts.temperature,
        controller=controller,
        broadcasts_weights=config.rollouts.broadcasts_to(config.gpus_per_worker),
        weight_timeout_seconds=config.rollouts.timeout_seconds,
        num_audited=len(checked.audited),
        output=output,
        loop=loop_config(
            config,
            checked.tracking,
            run_id,
            num_steps=config.training.num_steps,
            units=("prompts", "responses", "tokens", "response_tokens"),
            score_name="held-out gIoU",
            headline="reward/total",
        ),
    )


def _identify(config: TrainGrpoConfig, checked: _Checked) -> dict[str, Any]:
    """What must be equal for a training to be continued."""
    sampling = dataclasses.asdict(config.rollouts.sampling())
    return {
        "training": dataclasses.asdict(config.training),
        "rewards": dataclasses.asdict(config.rewards),
        "sampling": sampling,
        "max_staleness": config.rollouts.max_staleness,
        "max_tries": config.rollouts.max_tries,
        "model": find_source(config.model),
        "tokenizer_fingerprint": checked.reference.fingerprint,
        "conversations": [corpus.digest for corpus in checked.corpora],
        "conversation_weights": list(config.conversation_weights),
        "prompts_per_step": config.prompts_per_step,
        "prompts_per_window": config.prompts_per_window,
        "responses_per_prompt": config.responses_per_prompt,
        "max_length": config.max_length,
    }
