"""Which jobs make the method, with which flags, and what each reads of the others."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
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
    return list(_plan(config, Place.at(config.output)))


def _plan(config: ReproduceConfig, output: Place) -> Iterator[Stage]:
    def stage(name: str, job: str, more: str, **flags: str | tuple[str, ...]) -> Stage:
        own = [part for flag, value in flags.items() for part in _spell(flag, value)]
        split = (*own, "--output", output.uri(name), *shlex.split(more))
        return Stage(name=name, job=job, flags=split)

    splits = {"train": config.ingest_train, "test": config.ingest_test}
    for split, flags in splits.items():
        yield stage(f"corpus-{split}", "ingest_corpus", flags)
    tokenizer = config.tokenizer
    if config.train_tokenizer:
        corpus = output.uri("corpus-train")
        yield stage("tokenizer", "train_tokenizer", config.train_tokenizer, corpus=corpus)
        tokenizer = output.uri("tokenizer/tokenizer")
    for split in splits:
        yield stage(
            f"words-{split}",
            "tokenize_corpus",
            f"--source corpus --reconstruct {config.tokenize_corpus}",
            corpus=output.uri(f"corpus-{split}"),
            tokenizer=tokenizer,
        )
    yield stage(
        "tokenizer-report",
        "evaluate_tokenizer",
        config.evaluate_tokenizer,
        corpus=output.uri("corpus-test"),
        tokenizer=tokenizer,
    )
    for split in splits:
        yield stage(
            f"dialogues-{split}",
            "build_dialogues",
            config.build_dialogues,
            corpus=output.uri(f"corpus-{split}"),
            words=output.uri(f"words-{split}"),
        )
    learned = {"conversations": output.uri("dialogues-train"), "tokenizer": tokenizer}
    yield stage("sft", "train_sft", config.train_sft, **learned)
    models = [output.uri("sft/model")]
    rewarded = learned
    if config.train_grpo and config.build_prompts:
        yield stage(
            "prompts",
            "build_dialogues",
            config.build_prompts,
            corpus=output.uri("corpus-train"),
            words=output.uri("words-train"),
        )
        rewarded = {**learned, "conversations": output.uri("prompts")}
    for seed in config.seeds if config.train_grpo else ():
        name = f"grpo-{seed}"
        yield stage(
            name,
            "train_grpo",
            f"{config.train_grpo} --training.seed {seed}",
            model=models[0],
            **rewarded,
        )
        models.append(output.uri(f"{name}/model"))
    others: dict[str, Any] = {"compare_with": tuple(models[1:])} if models[1:] else {}
    yield stage(
        "evaluation",
        "evaluate_model",
        f"--blank-image {config.evaluate_model}",
        model=models[0],
        conversations=output.uri("dialogues-test"),
        tokenizer=tokenizer,
        **others,
    )


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
}
