"""What trainings of a language model share: what learns, its wrapper and its optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from samtok.errors import CheckpointError
from samtok.mllm.model import Mllm
from samtok.mllm.training.config import SftConfig
from samtok.mllm.training.lora import add_adapters
from samtok.mllm.training.parts import choose_trainable, list_layers
from samtok.mllm.training.row_rate import RowRate
from samtok.mllm.training.vision_cache import cache_images
from samtok.mllm.vocabulary import list_tables
from samtok.training.optimizers import Optimizers
from samtok.training.schedule import warm_up_then_cosine
from samtok.training.sharding import deal_out, replicate, shard, whole, whole_weights

if TYPE_CHECKING:
    from peft import PeftModel


_OTHER_WEIGHTS: Final = (
    "the training state was written for another model, or with other parts learning; continue it "
    "with the settings it was begun with"
)


class LearningModel:
    """A model some of whose weights learn; those can be read and replaced by name.

    Args:
        mllm: changed in place: adapters are put in where the settings say so.
        config: which weights learn.
        device: where they are to lie.
    """

    def __init__(self, mllm: Mllm, config: SftConfig, device: torch.device) -> None:
        self.mllm = mllm
        self.model: Any = mllm.model.to(device)
        choose_trainable(self.model, config)
        self.adapted: PeftModel | None = (
            add_adapters(self.model, config) if config.lora_rank else None
        )

    def weights(self) -> dict[str, torch.Tensor]:
        """Those that learn, whole; with FSDP every process takes part."""
        learning: dict[str, torch.Tensor] = whole({n: w.detach() for n, w in self._learning()})
        return learning

    @torch.no_grad()
    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Take over items of :meth:`weights`, of any number of processes; one at a time.

        Raises:
            CheckpointError: they belong to another model, or other parts of it learned. Some may
                have been taken over.
        """
        missing = dict(self._learning())
        for name, weight in weights:
            own = missing.pop(name, None)
            if own is None or own.shape != weight.shape:
                raise CheckpointError(_OTHER_WEIGHTS)
            own.copy_(deal_out(weight.to(own.device), own))
        if missing:
            raise CheckpointError(_OTHER_WEIGHTS)

    def _learning(self) -> list[tuple[str, torch.Tensor]]:
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]


class MllmTrainer:
    """A model with everything that a training step needs, whatever its loss.

    Args:
        mllm: trained in place; its vocabulary has the mask words.
        config: settings.
        make_objective: model → the module that computes what the loss is made of.
        device: where to train.
    """

    def __init__(
        self,
        mllm: Mllm,
        config: SftConfig,
        make_objective: Callable[[Any], nn.Module],
        *,
        device: torch.device,
    ) -> None:
        self.mllm = mllm
        self.device = device
        self.step = 0
        self._config = config
        self._learner = LearningModel(mllm, config, device)
        self._model = self._learner.model
        if config.gradient_checkpointing:
            self._model.activation_checkpointing_enable({"use_reentrant": False})
        if config.vision_cache_mib:
            cache_images(self._model.model.visual, config.vision_cache_mib << 20)
        self._objective = make_objective(self._model)
        if config.parallel == "fsdp":
            self._parallel = shard(self._objective, list_layers(self._model), device)
        else:
            self._parallel = replicate(self._objective, device)
        tables = list_tables(self._model)
        self._optimizers = Optimizers(self._model, config.optimizers, tables=tables)
        self._row_rate = RowRate(tables, mllm, config.new_row_rate)

    @property
    def adapted(self) -> PeftModel | None:
        """The model as peft sees it; None without LoRA."""
        return self._learner.adapted

    @contextmanager
    def gathered(self) -> Iterator[Mllm]:
        """The model in evaluation mode, ready to generate; with FSDP every process takes part.

        Under FSDP whatever generates has to be the same on every process.
        """
        self._model.eval()
        with whole_weights(self._objective):
            yield self.mllm

    def weights(self) -> dict[str, torch.Tensor]:
        """Weights that learn, whole; with FSDP every process takes part."""
        return self._learner.weights()

    def state_dict(self) -> dict[str, Any]:
        """Weights that learn, optimizers and step; every process takes part."""
        return {
            "weights": self.weights(),
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

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take over the weights of a state alone.

        Raises:
            CheckpointError: as :meth:`load_state_dict`.
        """
        self._learner.load_weights(weights.items())

    def _optimize(self) -> dict[str, float]:
        """Take a step along the gradients, which are those of the whole batch.

        Returns:
            Gradient norm and learning rate.
        """
        norm = nn.utils.clip_grad_norm_(self._optimizers.parameters, self._config.clip_norm)
        learning_rate = self._config.learning_rate * warm_up_then_cosine(
            self.step, self._config.num_steps, self._config.warmup_share
        )
        with self._row_rate.applied():
            self._optimizers.step(learning_rate)
        return {"gradient_norm": float(whole(norm)), "learning_rate": learning_rate}
