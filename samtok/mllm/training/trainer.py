"""The step of supervised fine-tuning, on one process or many.

A step's batch is a list of micro-batches, the *lanes*, dealt out to the processes in order; see
:mod:`samtok.training.lanes`. The loss is the mean over all answer tokens of all lanes, whatever
lane they are in, and dropout belongs to the lane, so that the result does not depend on the number
of processes but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from samtok.errors import CheckpointError
from samtok.mllm.model import Mllm
from samtok.mllm.training.batches import SftBatch
from samtok.mllm.training.config import SftConfig
from samtok.mllm.training.lora import add_adapters
from samtok.mllm.training.objective import AnswerLosses, AnswerObjective, count_answer_tokens
from samtok.mllm.training.parts import choose_trainable, list_layers
from samtok.mllm.training.row_rate import RowRate
from samtok.mllm.vocabulary import list_tables
from samtok.training.collectives import num_processes, sum_over_processes
from samtok.training.lanes import first_lane, seed_of_lane
from samtok.training.optimizers import Optimizers
from samtok.training.schedule import warm_up_then_cosine
from samtok.training.sharding import (
    deal_out,
    replicate,
    shard,
    whole,
    whole_weights,
    without_sync,
)


class SftTrainer:
    """A model with everything a training step needs.

    Args:
        mllm: trained in place; its vocabulary has the mask words.
        config: settings.
        device: where to train.
        dtype: autocast dtype of the forward pass.
    """

    def __init__(
        self,
        mllm: Mllm,
        config: SftConfig,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.mllm = mllm
        self.config = config
        self.device = device
        self.step = 0
        model = mllm.model.to(device)
        choose_trainable(model, config)
        self.adapted: PeftModel | None = add_adapters(model, config) if config.lora_rank else None
        if config.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        self._model = model
        self._objective = AnswerObjective(model, dtype)
        if config.parallel == "fsdp":
            self._parallel = shard(self._objective, list_layers(model), device)
        else:
            self._parallel = replicate(self._objective, device)
        tables = list_tables(model)
        self._optimizers = Optimizers(model, config.optimizers, tables=tables)
        self._row_rate = RowRate(tables, mllm, config.new_row_rate)

    def train_step(self, lanes: Sequence[SftBatch]) -> dict[str, float]:
        """One optimizer step on this process's lanes of the batch.

        Args:
            lanes: at least one micro-batch, each with at least one answer token; as many on every
                process.

        Returns:
            Loss per answer token (of the whole batch, the same on every process), gradient norm,
            learning rate, and the numbers of conversations, tokens and answer tokens.
        """
        self._model.train()
        batches = [batch.to(self.device) for batch in lanes]
        conversations, tokens, answer_tokens = self._count(batches)
        first, last = first_lane(len(lanes)), len(lanes) - 1
        loss = torch.zeros((), device=self.device)
        for position, batch in enumerate(batches):
            torch.manual_seed(seed_of_lane(self.config.seed, self.step, first + position))
            with without_sync(self._parallel, waits=position < last):
                share = self._parallel(batch.inputs).losses.sum() / answer_tokens
                (share * num_processes()).backward()  # data-parallel training averages gradients
            loss += share.detach()
        norm = nn.utils.clip_grad_norm_(self._optimizers.parameters, self.config.clip_norm)
        learning_rate = self.config.learning_rate * warm_up_then_cosine(
            self.step, self.config.num_steps, self.config.warmup_share
        )
        with self._row_rate.applied():
            self._optimizers.step(learning_rate)
        self.step += 1
        return {
            "loss": float(sum_over_processes(loss)),
            "gradient_norm": float(whole(norm)),
            "learning_rate": learning_rate,
            "num_conversations": float(conversations),
            "num_tokens": float(tokens),
            "num_answer_tokens": float(answer_tokens),
        }

    @torch.no_grad()
    def measure(self, batch: SftBatch) -> AnswerLosses:
        """Losses without learning from them; with FSDP every process takes part."""
        self._model.eval()
        losses: AnswerLosses = self._objective(batch.to(self.device).inputs)
        return losses

    @contextmanager
    def gathered(self) -> Iterator[Mllm]:
        """The model in evaluation mode, ready to generate; with FSDP every process takes part.

        Under FSDP whatever generates has to be the same on every process.
        """
        self._model.eval()
        with whole_weights(self._objective):
            yield self.mllm

    def state_dict(self) -> dict[str, Any]:
        """Weights that learn, optimizers and step; every process takes part."""
        return {
            "weights": whole({name: weight.detach() for name, weight in self._learning()}),
            "optimizers": whole(self._optimizers.state_dict()),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`, of any number of processes.

        Raises:
            CheckpointError: it belongs to another model, or other parts of it learned.
        """
        self.load_weights(state["weights"])
        self._optimizers.load_state_dict(state["optimizers"])
        self.step = int(state["step"])

    @torch.no_grad()
    def load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Take over the weights of a state alone.

        Raises:
            CheckpointError: as :meth:`load_state_dict`.
        """
        learning = dict(self._learning())
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in learning.items()}:
            raise CheckpointError(
                "the training state was written for another model, or with other parts learning; "
                "continue it with the settings it was begun with"
            )
        for name, weight in learning.items():
            weight.copy_(deal_out(weights[name].to(self.device), weight))

    def _learning(self) -> list[tuple[str, torch.Tensor]]:
        return [(n, p) for n, p in self._model.named_parameters() if p.requires_grad]

    def _count(self, batches: list[SftBatch]) -> list[int]:
        counts = torch.tensor(
            [
                [batch.num_conversations, batch.num_tokens, count_answer_tokens(batch.inputs)]
                for batch in batches
            ],
            device=self.device,
        ).sum(0)
        return sum_over_processes(counts).tolist()
