"""The engine that runs on vLLM, on a GPU. Written against vLLM 0.33; not run yet.

vLLM reads a prompt once for its group by itself: answers share what it keeps of prefixes and of
images. It runs in this process, so that weights are handed over as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from samtok.errors import ConfigError
from samtok.mllm.generation import GenerationConfig, list_control_ids, list_ends
from samtok.mllm.group_generation import SampledAnswer
from samtok.mllm.grpo.engine import RolloutPrompt
from samtok.mllm.model import find_folder, load_processor

_NEVER: Final = -100.0
"""Logit bias of words that are never written; the lowest that vLLM takes."""


class VllmEngine:
    """vLLM with the policy's weights.

    Args:
        model: what the training starts from, with mask words; see
            :func:`~samtok.mllm.model.load_mllm`.
        max_length: most tokens of prompt and answer together.
        memory_share: of the GPU's memory that vLLM takes, above 0, at most 1.
        seed: of vLLM; answers have their own.

    Raises:
        ConfigError: vLLM is not installed.
        CheckpointError: the model is not there.
    """

    def __init__(
        self, model: str | Path, *, max_length: int, memory_share: float, seed: int
    ) -> None:
        # With an engine in a process of its own, weights would have to be sent to it.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        try:
            import vllm
        except ImportError as error:
            raise ConfigError(
                "the engine vllm needs vLLM on the nodes of the rollout actors: install it there, "
                "or take --rollouts.engine transformers"
            ) from error
        self._vllm = vllm
        self.processor: Any = load_processor(model)
        self._llm = vllm.LLM(
            str(find_folder(model)),
            max_model_len=max_length,
            gpu_memory_utilization=memory_share,
            limit_mm_per_prompt={"image": 1},
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",
            generation_config="vllm",
            seed=seed,
        )

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """See `RolloutEngine`; what is kept of prompts was made by the old weights, and goes."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
        self._llm.reset_prefix_cache()

    def generate(
        self,
        prompts: Sequence[RolloutPrompt],
        seeds: Sequence[Sequence[int]],
        config: GenerationConfig,
    ) -> list[list[SampledAnswer]]:
        """See `RolloutEngine`. Log-probabilities are those after ``top_p``.

        Raises:
            ConfigError: masks are to be constrained, which this engine cannot.
        """
        if config.constrain_masks:
            raise ConfigError("the engine vllm cannot constrain masks; take transformers")
        requests, sampling = [], []
        for prompt, own in zip(prompts, seeds, strict=True):
            request = self._request(prompt)
            requests += [request] * len(own)
            sampling += [self._sampling(seed, config) for seed in own]
        outputs = iter(self._llm.generate(requests, sampling, use_tqdm=False))
        return [[_read_answer(next(outputs).outputs[0]) for _ in own] for own in seeds]

    def _request(self, prompt: RolloutPrompt) -> dict[str, Any]:
        """A prompt whose image is one token, which vLLM repeats itself."""
        ids = prompt.encoded.input_ids
        is_image = ids == self.processor.image_token_id
        is_repeated = is_image & is_image.roll(1)
        return {
            "prompt_token_ids": ids[~is_repeated].tolist(),
            "multi_modal_data": {"image": Image.fromarray(prompt.image)},
        }

    def _sampling(self, seed: int, config: GenerationConfig) -> Any:
        return self._vllm.SamplingParams(
            seed=seed,
            temperature=config.temperature,
            top_p=config.top_p,
            max_tokens=config.max_new_tokens,
            logprobs=0,
            stop_token_ids=list_ends(self.processor.tokenizer),
            logit_bias=dict.fromkeys(list_control_ids(self.processor.tokenizer), _NEVER),
            detokenize=False,
        )


def _read_answer(output: Any) -> SampledAnswer:
    """Of vLLM's completion, whose last token is the stop token where it ended by itself."""
    logprobs = [
        of_step[token].logprob
        for token, of_step in zip(output.token_ids, output.logprobs, strict=True)
    ]
    return SampledAnswer(
        torch.tensor(list(output.token_ids)),
        torch.tensor(logprobs),
        has_ended=output.finish_reason == "stop",
    )
