"""The steps of the tiny base's pretraining; data-parallel where processes are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samtok.mllm.model import Mllm
from samtok.mllm.pretraining.batches import PretrainingBatch
from samtok.mllm.pretraining.config import PretrainingConfig
from samtok.mllm.pretraining.dense import DenseHead, DenseTargets
from samtok.mllm.pretraining.pointing import PointingHead, PointingTargets
from samtok.mllm.training.objective import AnswerObjective
from samtok.tokenizer.device import DTYPES
from samtok.training.collectives import num_processes, sum_over_processes
from samtok.training.optimizers import Optimizers
from samtok.training.schedule import warm_up_then_cosine

_BOX_WEIGHT = 5.0
_DENSE_LOSSES = {"color": 1.0, "category": 1.0, "texture": 0.5, "box": _BOX_WEIGHT}
"""Weights of the parts of the dense supervision."""


class PretrainingTrainer:
    """Vision alone first, then vision and text together.

    Args:
        mllm: learns in place.
        config: settings.
        device: where it learns.
    """

    def __init__(self, mllm: Mllm, config: PretrainingConfig, *, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.model = mllm.model.to(device)
        self.step = 0
        with torch.random.fork_rng(devices=[]):  # the same head on every process
            torch.manual_seed(config.seed)
            width = mllm.model.config.text_config.hidden_size
            self.head = DenseHead(width).to(device)
            self.pointing_head = PointingHead(width).to(device)
        self._optimizers = Optimizers(
            nn.ModuleList([self.model, self.head, self.pointing_head]),
            config.optimizers,
            tables=[self.model.get_input_embeddings().weight],
        )
        self._objective = AnswerObjective(self.model, DTYPES[config.dtype])
        self._image_token_id = mllm.processor.image_token_id
        self._image_tokens: Tensor | None = None
        self.model.model.visual.register_forward_hook(self._keep_image_tokens)
        self._states: list[Tensor] = []
        layers = self.model.model.language_model.layers
        for layer in layers[len(layers) // 2 :][:2]:
            layer.register_forward_hook(self._keep_states)

    def train_step(self, lanes: Sequence[PretrainingBatch]) -> dict[str, float]:
        """One optimizer step on this process's lanes.

        Args:
            lanes: at least one; as many on every process.

        Returns:
            Losses and shares of right cells, means over all lanes; gradient norm, learning rate,
            number of images.
        """
        self.model.train()
        num_lanes = len(lanes) * num_processes()
        figures: dict[str, Tensor] = {}
        for lane in lanes:
            parts = self._measure(lane)
            (parts["loss"] / num_lanes).backward()
            for name, value in parts.items():
                figures[name] = figures.get(name, 0) + value.detach() / num_lanes
        trained = [p for p in self._optimizers.parameters if p.grad is not None]
        _sum_gradients(trained)
        norm = nn.utils.clip_grad_norm_(trained, self.config.clip_norm)
        learning_rate = self._learning_rate()
        self._optimizers.step(learning_rate)
        self.step += 1
        totals = sum_over_processes(torch.stack(list(figures.values()))).tolist()
        return {
            **dict(zip(figures, totals, strict=True)),
            "gradient_norm": float(norm),
            "learning_rate": learning_rate,
            "num_images": num_lanes * self.config.images_per_lane,
        }

    def state_dict(self) -> dict[str, Any]:
        """Weights, head, optimizers and step; tensors and plain values only."""
        return {
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "pointing_head": self.pointing_head.state_dict(),
            "optimizers": self._optimizers.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.pointing_head.load_state_dict(state["pointing_head"])
        self._optimizers.load_state_dict(state["optimizers"])
        self.step = int(state["step"])

    def _measure(self, lane: PretrainingBatch) -> dict[str, Tensor]:
        self._states.clear()
        inputs = {name: tensor.to(self.device) for name, tensor in lane.inputs.items()}
        targets = DenseTargets(*(target.to(self.device) for target in lane.targets))
        if self.step < self.config.vision_steps:
            with torch.set_grad_enabled(self.step >= self.config.head_steps):
                self.model.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
            text: dict[str, Tensor] = {}
        else:
            text = {"text": self._objective(inputs).losses.mean()}
        assert self._image_tokens is not None
        seen = self.head(self._image_tokens.float(), targets)
        dense = torch.stack([weight * seen[name] for name, weight in _DENSE_LOSSES.items()]).sum()
        if lane.pointing is None:
            return {"loss": dense, **seen}
        pointed = self._point(inputs["input_ids"], lane.pointing)
        loss = text["text"] + self.config.dense_weight * dense
        pointing = pointed["pointing"] + _BOX_WEIGHT * pointed["pointed_box"]
        loss = loss + self.config.pointing_weight * pointing
        return {"loss": loss, **text, **seen, **pointed}

    def _point(self, input_ids: Tensor, targets: PointingTargets) -> dict[str, Tensor]:
        targets = PointingTargets(*(target.to(self.device) for target in targets))
        is_image = input_ids == self._image_token_id
        states, later_states = (each.float() for each in self._states)
        pointed: dict[str, Tensor] = self.pointing_head(states, later_states, is_image, targets)
        return pointed

    def _keep_image_tokens(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._image_tokens = output.pooler_output

    def _keep_states(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._states.append(output if isinstance(output, Tensor) else output[0])

    def _learning_rate(self) -> float:
        config = self.config
        start, end, peak = 0, config.vision_steps, config.learning_rate
        if self.step >= config.vision_steps:
            start, end, peak = config.vision_steps, config.num_steps, config.text_learning_rate
        return peak * warm_up_then_cosine(self.step - start, end - start, config.warmup_share)


def _sum_gradients(parameters: list[Tensor]) -> None:
    """Over all processes, in one message."""
    if num_processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = sum_over_processes(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
