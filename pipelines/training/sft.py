"""Supervised fine-tuning on Ray Train: from conversations to a model that speaks in masks.

`run_sft` checks everything first, then starts or resumes the training, and at the end writes the
best weights as a folder in hub layout.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.cluster import connect
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
from pipelines.training.sft_loading import STAGE, Batching, SftLoadStage
from pipelines.training.sft_validation import SftValidation
from pipelines.training.sft_worker import SftJob, train_worker
from pipelines.training.summary import TrainingSummary
from samtok.mllm import MaskTokenizerReference, load_processor
from samtok.mllm.generation import GenerationConfig
from samtok.mllm.training import SftConfig
from samtok.mllm.vocabulary import add_mask_words
from samtok.tokenizer import SAMTok


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSftConfig(TrainingJobConfig):
    """Settings of the job."""

    conversations: tuple[str, ...]
    """What to learn from: outputs of jobs/build_dialogues.py, local or s3://."""
    conversation_weights: tuple[float, ...] = ()
    """Share of each in what is read; default: by their numbers of conversations."""
    validation_conversations: tuple[str, ...] = ()
    """What to validate on, likewise; without any, the last weights are the result, not the best."""
    validation_size: int = 200
    """The first so many conversations of each."""
    samples_per_task: int = 2
    """Conversations of each task that the model answers at a validation, for a picture; 0: none."""
    max_new_tokens: int = 256
    """Those answers are cut after so many tokens."""
    model: str
    """Model to start from: a folder in hub layout, such as OUTPUT/model of
    jobs/pretrain_tiny_base.py, or a hub id; its vocabulary is extended by the mask words unless it
    has them."""
    tokenizer: str = "tiny"
    """Mask tokenizer that the conversations were made with: tiny, a folder, or a hub id."""
    conversations_per_step: int = 16
    """Conversations of an optimizer step, over all workers."""
    conversations_per_lane: int = 8
    """Conversations of one backward pass; divides --conversations-per-step. A worker with several
    of them accumulates gradients. Does not change the result, the number of workers neither."""
    conversations_per_window: int = 256
    """Conversations shuffled together; a multiple of --conversations-per-lane."""
    batching: Batching = "grouped"
    """padded: a backward pass reads conversations in random order, padded to the longest. grouped:
    conversations of about the same length, padded. packed: several in a row, each blind to the
    others, those of a window about the same image reading it once, and passes of about the same
    number of tokens. Losses are the same."""
    max_length: int = 2048
    """Most tokens of a conversation, the image's included; longer ones are quarantined. Packed rows
    hold as many."""
    training: SftConfig = field(default_factory=SftConfig)
    """The step itself."""
    merge_lora: bool = True
    """Add LoRA adapters to the weights at the end; otherwise they are written beside them."""
    register: str = REGISTERED_MODEL
    """Registered model that the result becomes a version of; empty: none."""

    def __post_init__(self) -> None:
        TrainingJobConfig.__post_init__(self)  # super() does not find its way in slotted classes
        for name in (
            "conversations_per_step",
            "conversations_per_lane",
            "max_length",
            "max_new_tokens",
            "validation_size",
        ):
            at_least(1, name, getattr(self, name))
        for whole in ("conversations_per_step", "conversations_per_window"):
            divides(
                "conversations_per_lane", self.conversations_per_lane, whole, getattr(self, whole)
            )
        check_lanes(self.num_lanes, self.num_workers)

    @property
    def num_lanes(self) -> int:
        """Micro-batches of a step."""
        return self.conversations_per_step // self.conversations_per_lane


@dataclass(frozen=True, kw_only=True, slots=True)
class SftSummary(TrainingSummary):
    """What a fine-tuning left behind."""

    model: str
    """Folder in hub layout."""
    validation_loss: float | None
    """Of the best checkpoint, nats per answer token; None without validation."""
    quarantined: dict[str, int]
    """Conversations met that could not be learned from, by reason."""

    def rows(self) -> dict[str, str]:
        """The model, its loss, and what was left out."""
        loss = self.validation_loss
        shown = "not measured" if loss is None else f"{loss:.4f} nats per answer token"
        return {
            "model": self.model,
            "steps": f"{self.steps:,}",
            "validation loss of the best checkpoint": shown,
            **{f"quarantined: {reason}": f"{n:,}" for reason, n in self.quarantined.items()},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Checked:
    """Settings that have been found usable, resolved."""

    corpora: tuple[ConversationCorpus, ...]
    validation_corpora: tuple[ConversationCorpus, ...]
    mixture: Mixture
    processor: bytes
    reference: MaskTokenizerReference
    codebooks: np.ndarray
    tracking: TrackingConfig


def run_sft(config: TrainSftConfig) -> SftSummary:
    """Fine-tune a model; resumes what an earlier run with the same settings left, if anything.

    Raises:
        ConfigError: the settings do not fit what they name; nothing has run.
        CheckpointError: model or tokenizer cannot be loaded, the output belongs to other settings,
            or training failed.
    """
    began = time.monotonic()
    output = Place.at(config.output)
    checked = check_sft(config)
    identity = _identify(config, checked)
    if finished := read_summary(SftSummary, output, identity, began=began):
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
        job = _build_job(config, checked, output, tracker.run_id)
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
        done = SftSummary(
            output=output.uri(),
            model=address,
            steps=config.training.num_steps,
            validation_loss=-math.log(score) if score > 0 else None,
            quarantined=count_reasons(output),
            run_id=tracker.run_id,
            model_version=publish(config, tracker, address, "model", fingerprint),
            seconds=time.monotonic() - began,
        )
        write_manifest(output, STAGE, config, identity, fingerprint, done)
    return done


def check_sft(config: TrainSftConfig) -> _Checked:
    """Find out, before any cluster work, whether the settings fit what they name.

    Raises:
        ConfigError: names what does not, and what to change.
        CheckpointError: the model's processor or the tokenizer cannot be loaded.
    """
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    corpora, validation_corpora = (
        tuple(open_training_conversations(place, tokenizer.fingerprint) for place in places)
        for places in (config.conversations, config.validation_conversations)
    )
    mixture = Mixture.of(
        (corpus.starts for corpus in corpora),
        config.conversation_weights,
        num_lanes=config.num_lanes,
        images_per_window=config.conversations_per_window,
        seed=config.training.seed,
    )
    processor = load_processor(config.model)
    add_mask_words(processor.tokenizer)
    return _Checked(
        corpora=corpora,
        validation_corpora=validation_corpora,
        mixture=mixture,
        processor=pickle.dumps(processor),
        reference=MaskTokenizerReference(name=config.tokenizer, fingerprint=tokenizer.fingerprint),
        codebooks=tokenizer.copy_codebooks()[0],
        tracking=check_tracking(config.tracking),
    )


def _build_job(
    config: TrainSftConfig, checked: _Checked, output: Place, run_id: str | None
) -> SftJob:
    codebook_size = checked.codebooks.shape[1]
    return SftJob(
        model=find_source(config.model),
        codebooks=checked.codebooks if config.training.word_rows == "codebook" else None,
        training=config.training,
        stage=SftLoadStage(
            corpora=checked.corpora,
            mixture=checked.mixture,
            images_per_lane=config.conversations_per_lane,
            processor=checked.processor,
            codebook_size=codebook_size,
            max_length=config.max_length,
            batching=config.batching,
        ),
        validation=SftValidation(
            corpora=checked.validation_corpora,
            num_conversations=config.validation_size,
            conversations_per_batch=config.conversations_per_lane,
            max_length=config.max_length,
            tokenizer=find_source(config.tokenizer),
            codebook_size=codebook_size,
            samples_per_task=config.samples_per_task,
            generation=GenerationConfig(max_new_tokens=config.max_new_tokens),
        ),
        capacity=config.max_length if config.batching == "packed" else None,
        output=output,
        loop=loop_config(
            config,
            checked.tracking,
            run_id,
            num_steps=config.training.num_steps,
            units=("conversations", "answer_tokens", "tokens"),
            score_name="answer token probability",
        ),
    )


def _identify(config: TrainSftConfig, checked: _Checked) -> dict[str, Any]:
    """What must be equal for a training to be continued."""
    return {
        "training": dataclasses.asdict(config.training),
        "model": find_source(config.model),
        "tokenizer_fingerprint": checked.reference.fingerprint,
        "conversations": [corpus.digest for corpus in checked.corpora],
        "conversation_weights": list(config.conversation_weights),
        "conversations_per_step": config.conversations_per_step,
        "conversations_per_lane": config.conversations_per_lane,
        "conversations_per_window": config.conversations_per_window,
        "batching": config.batching,
        "max_length": config.max_length,
    }
