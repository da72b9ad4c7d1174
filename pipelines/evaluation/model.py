"""Conversations in, a report of a language model's answers out.

`run_model_evaluation` lists the conversations, streams them by image through a pool of actors that
hold model and tokenizer, adds up on the driver the small rows that come back, and writes the report
with its pictures. Models to compare with, and the model with its image blanked, go the same way.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

from ray.data import Dataset

from pipelines import manifest
from pipelines.cluster import connect
from pipelines.evaluation.answer_stage import AnswerStage, measures_of
from pipelines.evaluation.conversations import (
    ASKED,
    ConversationListing,
    ConversationSource,
    open_source,
)
from pipelines.evaluation.model_config import EvaluateModelConfig
from pipelines.evaluation.model_output import (
    QUARANTINE_FOLDER,
    STAGE,
    VariantResult,
    track_results,
    write_results,
)
from pipelines.evaluation.model_pictures import Samples, draw_pictures
from pipelines.evaluation.model_tables import ModelSummary
from pipelines.evaluation.streaming import ReadStage, stream
from pipelines.evaluation.variants import Variant, list_variants
from pipelines.progress import Progress
from pipelines.storage import Place
from pipelines.tracking import RunTracker, check_tracking
from samtok.errors import ConfigError
from samtok.metrics.captions import explain_missing_scorers, score_captions
from samtok.metrics.model_report import ModelTally
from samtok.metrics.task_figures import Language
from samtok.metrics.terms import Terms
from samtok.mllm import load_processor
from samtok.mllm.chat import check_mask_tokenizer
from samtok.mllm.model import read_mask_tokenizer
from samtok.scenes.terms import TERM_KINDS, list_terms
from samtok.tokenizer import SAMTok

_NAMED_KINDS: Final = ("color", "category", "texture")


def run_model_evaluation(config: EvaluateModelConfig) -> ModelSummary:
    """Evaluate a language model and write what was found.

    Raises:
        ConfigError: the conversations cannot be read, they or a model do not fit the tokenizer, a
            scorer is missing, or nothing can be recorded; nothing has run.
        CheckpointError: a model or the tokenizer cannot be loaded; nothing has run.
    """
    began = time.monotonic()
    missing = explain_missing_scorers() if config.caption_scores else None
    if missing is not None:
        raise ConfigError(f"--caption-scores: {missing}")
    variants = list_variants(
        config.model, blank_image=config.blank_image, compare_with=config.compare_with
    )
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    for variant in variants:
        load_processor(variant.model)  # the least that shows whether it can be read
        check_mask_tokenizer(read_mask_tokenizer(variant.model), tokenizer)
    source = open_source(
        config.conversations,
        config.words,
        tokenizer_fingerprint=tokenizer.fingerprint,
        tasks=config.tasks,
        limit=config.limit,
        images_per_block=config.images_per_block,
    )
    listing = source.list_blocks()
    output = Place.at(config.output)
    tracking = check_tracking(config.tracking)
    for stale in (manifest.MANIFEST_FILE, QUARANTINE_FOLDER):  # of an earlier evaluation
        output.delete(stale)
    connect()
    with RunTracker.open(tracking, tags={"stage": STAGE}) as tracker:
        tracker.log_params(config)
        results = [_evaluate(config, variant, source, listing) for variant in variants]
        pictures = draw_pictures(results[0].samples.choose(), source, tokenizer)
        summary = _summarize(config, tokenizer, listing, results, began, list(pictures))
        write_results(output, config, source, summary, results, pictures)
        track_results(tracker, summary, pictures)
    return summary


def build_dataset(
    config: EvaluateModelConfig,
    variant: Variant,
    source: ConversationSource,
    listing: ConversationListing,
) -> Dataset:
    """The lazy dataset: read, answer; gives one row of `answer_stage.ANSWERED` per conversation."""
    return stream(
        listing.blocks,
        ReadStage(source, ASKED),
        AnswerStage,
        (variant, config.tokenizer),
        {"generation": config.generation, "batch_size": config.conversations_per_batch},
        config,
        batch_size=None,  # what is padded together shows in the last digits, and so in answers
    )


def _evaluate(
    config: EvaluateModelConfig,
    variant: Variant,
    source: ConversationSource,
    listing: ConversationListing,
) -> VariantResult:
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    dataset = build_dataset(config, variant, source, listing)
    total, verb = sum(listing.num_conversations.values()), f"asking {variant.name}"
    with Progress(total, verb=verb, rows="conversations", items="answers") as progress:
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            answered = block.to_pylist()
            progress.advance(len(answered), sum(len(row["answers"]) for row in answered))
            rows += answered
    rows.sort(key=lambda row: row["conversation_id"])  # whatever came back first
    tally, samples = ModelTally(_choose_language(config)), Samples(config.samples)
    for row in rows:
        measures = measures_of(row)
        if measures is not None:
            tally.add(row["task"], row["answers"], row["targets"], measures)
            samples.add(row)
    return VariantResult(
        variant=variant,
        report=tally.report(),
        rows=rows,
        quarantined=[row["quarantined"] for row in rows if row["quarantined"]],
        samples=samples,
        seconds=time.monotonic() - began,
    )


def _choose_language(config: EvaluateModelConfig) -> Language:
    known = {kind: list_terms(kind) for kind in TERM_KINDS}
    every = {term: meaning for terms in known.values() for term, meaning in terms.items()}
    return Language(
        kinds={kind: Terms(known[kind]) for kind in _NAMED_KINDS},
        wording=Terms(every if config.wording == "scenes" else {}),
        score_captions=score_captions if config.caption_scores else None,
    )


def _summarize(
    config: EvaluateModelConfig,
    tokenizer: SAMTok,
    listing: ConversationListing,
    results: list[VariantResult],
    began: float,
    pictures: list[str],
) -> ModelSummary:
    output = Place.at(config.output)
    return ModelSummary(
        output=output.uri(),
        model=config.model,
        tokenizer=config.tokenizer,
        tokenizer_fingerprint=tokenizer.fingerprint,
        reports={result.variant.name: result.report for result in results},
        num_conversations=listing.num_conversations,
        num_answered={r.variant.name: len(r.rows) - len(r.quarantined) for r in results},
        quarantined={
            r.variant.name: dict(Counter(row["reason"] for row in r.quarantined).most_common())
            for r in results
        },
        num_rounds_per_second={
            r.variant.name: sum(len(row["answers"]) for row in r.rows) / r.seconds for r in results
        },
        seconds=time.monotonic() - began,
        pictures=[output.uri(name) for name in pictures],
    )
