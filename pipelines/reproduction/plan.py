"""Which jobs make the method, with which flags, and what each reads of the others."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipelines.storage import Place
from pipelines.tracking_config import TrackingConfig
from samtok.errors import ConfigError

TRACKED_JOBS: Final = ("train_tokenizer", "train_sft", "train_grpo", "evaluate_model")
"""Jobs that record runs of their own, shown below that of the whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReproduceConfig:
    """Settings of the whole: flags of its jobs, but for inputs, outputs and tracking."""

    output: str
    """Folder or s3:// prefix to write to, a folder in it for each stage; a run that was stopped
    there is continued."""
    ingest_train: str
    """Flags of jobs/ingest_corpus.py for what is learned from."""
    ingest_val: str = ""
    """Flags of jobs/ingest_corpus.py for what SFT is validated and GRPO audited on, to choose the
    best checkpoint; empty: neither is, and the last weights are the result."""
    ingest_test: str
    """Flags of jobs/ingest_corpus.py for what is measured on."""
    train_tokenizer: str = ""
    """Flags of jobs/train_tokenizer.py; empty: no training, the tokenizer is --tokenizer."""
    tokenizer: str = "tiny"
    """Mask tokenizer where none is trained: tiny, a folder, or a published .pth file."""
    tokenize_corpus: str = ""
    """More flags of jobs/tokenize_corpus.py."""
    evaluate_tokenizer: str = ""
    """More flags of jobs/evaluate_tokenizer.py."""
    build_dialogues: str = ""
    """More flags of jobs/build_dialogues.py."""
    build_sft: str = ""
    """More flags of jobs/build_dialogues.py for what SFT learns from, beside --build-dialogues."""
    train_sft: str
    """Flags of jobs/train_sft.py, the model among them."""
    train_grpo: str = ""
    """Flags of jobs/train_grpo.py; empty: no GRPO."""
    build_prompts: str = ""
    """Flags of jobs/build_dialogues.py for what GRPO asks, such as the weights of tasks; empty:
    it asks what SFT has learned."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """GRPO is run once with each."""
    evaluate_model: str = ""
    """More flags of jobs/evaluate_model.py."""
    evaluate_grpo: str = ""
    """Those for what GRPO made, beside what SFT made, on what GRPO asks; empty: the same."""
    dry_run: bool = False
    """Print the commands and stop."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """Where the run of the whole is recorded, with those of its trainings below it."""

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"--seeds is {' '.join(map(str, self.seeds))}; give each once")
        if self.train_grpo and not self.seeds:
            raise ConfigError("--train-grpo needs at least one of --seeds")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One job of the whole."""

    name: str
    """Its folder in the output."""
    job: str
    """File in `jobs`, without ending."""
    flags: tuple[str, ...]

    @property
    def command(self) -> str:
        """What a person would type."""
        return shlex.join(("python", f"jobs/{self.job}.py", *self.flags))


def plan_stages(config: ReproduceConfig) -> list[Stage]:
    """All stages in order, each after what it reads."""
    plan = _Plan(config)
    return [
        *plan.make_words(),
        *plan.write_dialogues(),
        plan.fine_tune(),
        plan.evaluate(),
        *(plan.reward() if config.train_grpo else ()),
    ]


class _Plan:
    def __init__(self, config: ReproduceConfig) -> None:
        self.config = config
        self._output = Place.at(config.output)
        ingested = {
            "train": config.ingest_train,
            "val": config.ingest_val,
            "test": config.ingest_test,
        }
        self.splits = {split: flags for split, flags in ingested.items() if flags}
        self._tokenizer = config.tokenizer
        if config.train_tokenizer:
            self._tokenizer = self._output.uri("tokenizer/tokenizer")
        self._fine_tuned = self._output.uri("sft/model")

    def make_words(self) -> Iterator[Stage]:
        """Corpora, the tokenizer, the words of all masks, and how well they say them."""
        for split, flags in self.splits.items():
            yield self._stage(f"corpus-{split}", "ingest_corpus", flags)
        if self.config.train_tokenizer:
            corpus = self._output.uri("corpus-train")
            flags = self.config.train_tokenizer
            yield self._stage("tokenizer", "train_tokenizer", flags, corpus=corpus)
        for split in self.splits:
            yield self._stage(
                f"words-{split}",
                "tokenize_corpus",
                f"--source corpus --reconstruct {self.config.tokenize_corpus}",
                corpus=self._output.uri(f"corpus-{split}"),
                tokenizer=self._tokenizer,
            )
        yield self._stage(
            "tokenizer-report",
            "evaluate_tokenizer",
            self.config.evaluate_tokenizer,
            corpus=self._output.uri("corpus-test"),
            tokenizer=self._tokenizer,
        )

    def write_dialogues(self) -> Iterator[Stage]:
        """What SFT learns from and is measured on."""
        flags = self.config.build_dialogues
        yield from self.build("dialogues", ["train"], f"{flags} {self.config.build_sft}")
        held_out = [split for split in self.splits if split != "train"]
        yield from self.build("dialogues", held_out, flags)

    def build(self, name: str, splits: Iterable[str], flags: str) -> Iterator[Stage]:
        """Conversations of each split."""
        for split in splits:
            yield self._stage(
                f"{name}-{split}",
                "build_dialogues",
                flags,
                corpus=self._output.uri(f"corpus-{split}"),
                words=self._output.uri(f"words-{split}"),
            )

    def fine_tune(self) -> Stage:
        return self._stage(
            "sft",
            "train_sft",
            self.config.train_sft,
            conversations=self._output.uri("dialogues-train"),
            tokenizer=self._tokenizer,
            **self._hold_out("validation_conversations", "dialogues"),
        )

    def evaluate(self) -> Stage:
        return self._stage(
            "evaluation",
            "evaluate_model",
            f"--blank-image {self.config.evaluate_model}",
            model=self._fine_tuned,
            conversations=self._output.uri("dialogues-test"),
            tokenizer=self._tokenizer,
        )

    def reward(self) -> Iterator[Stage]:
        """What GRPO asks, GRPO with each seed, and what it changed."""
        asked = "dialogues"
        if self.config.build_prompts:
            asked = "prompts"
            yield from self.build(asked, self.splits, self.config.build_prompts)
        names = [f"grpo-{seed}" for seed in self.config.seeds]
        for name, seed in zip(names, self.config.seeds, strict=True):
            yield self._stage(
                name,
                "train_grpo",
                f"{self.config.train_grpo} --training.seed {seed}",
                model=self._fine_tuned,
                conversations=self._output.uri(f"{asked}-train"),
                tokenizer=self._tokenizer,
                **self._hold_out("audit_conversations", asked),
            )
        yield self._stage(
            "grpo-evaluation",
            "evaluate_model",
            self.config.evaluate_grpo or self.config.evaluate_model,
            model=self._fine_tuned,
            compare_with=tuple(self._output.uri(f"{name}/model") for name in names),
            conversations=self._output.uri(f"{asked}-test"),
            tokenizer=self._tokenizer,
        )

    def _hold_out(self, flag: str, conversations: str) -> dict[str, str]:
        return {flag: self._output.uri(f"{conversations}-val")} if self.config.ingest_val else {}

    def _stage(self, name: str, job: str, more: str, **flags: str | tuple[str, ...]) -> Stage:
        own = [part for flag, value in flags.items() for part in _spell(flag, value)]
        split = (*own, "--output", self._output.uri(name), *shlex.split(more))
        return Stage(name=name, job=job, flags=split)


def _spell(flag: str, value: str | tuple[str, ...]) -> tuple[str, ...]:
    values = (value,) if isinstance(value, str) else value
    return (f"--{flag.replace('_', '-')}", *values)


REPRODUCTION_PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "smoke": {
        "ingest_train": "--source scenes --num-images 12",
        "ingest_test": "--source scenes --split test --num-images 3",
        "evaluate_tokenizer": "--panel-masks 2",
        "train_sft": (
            "--preset tiny --model tiny-base --training.num-steps 2 --conversations-per-step 8 "
            "--conversations-per-lane 8 --conversations-per-window 32"
        ),
        "train_grpo": (
            "--preset tiny --training.num-steps 1 --prompts-per-step 2 --prompts-per-lane 2 "
            "--responses-per-prompt 2 --rollouts.max-new-tokens 8"
        ),
        "seeds": (0,),
        "evaluate_model": "--limit 2 --generation.max-new-tokens 8",
    },
    "laptop": {
        "ingest_train": "--source scenes --num-images 6000",
        "ingest_val": "--source scenes --split val --num-images 100",
        "ingest_test": "--source scenes --split test --num-images 150",
        "build_dialogues": (
            "--weights.region-captioning 2 --weights.grounded-conversation 0.6 "
            "--weights.scene-graph 2.5"
        ),
        "build_sft": "--no-target-share 0.2 --weights.referring-segmentation 1.5",
        "train_sft": (
            "--preset tiny --model tiny-base --num-workers 2 "
            "--training.num-steps 1600 --validate-every 800"
        ),
        "build_prompts": (
            "--weights.region-captioning 0 --weights.region-vqa 0 "
            "--weights.grounded-conversation 0 --weights.scene-graph 0 "
            "--weights.interactive-segmentation 0 --json-share 0"
        ),
        "train_grpo": (
            "--preset tiny --rewards.weights answer_matching=1 soft_matching=0 "
            "--training.num-steps 30 --training.learning-rate 2e-4 --validate-every 10 "
            "--audit-size 300"
        ),
        "evaluate_model": "--limit 400",
        "evaluate_grpo": "--limit 1000",
    },
}
"""smoke: runs through everything, teaches nothing. laptop: teaches, on two CPU cores."""
