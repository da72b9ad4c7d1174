"""The multimodal language model: a model and its processor, loaded and saved together.

This file and `tiny.py` alone import transformers. Qwen3-VL, Qwen2.5-VL and the tiny Qwen3-VL go
one way through it; what differs between them lies in their configs and chat templates.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
import transformers

from samtok.bucket import SCHEME, download_from_s3
from samtok.errors import CheckpointError
from samtok.hub import download_from_hub
from samtok.mllm.card import write_card
from samtok.tokenizer.device import choose_device, choose_dtype
from samtok.words import MASK_START

# Loading its parts takes longer than all else that most processes import: they come when used.
if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

PACKAGED: Final = ("tiny-base", "tiny-chat")
"""Models that come with the package."""
REFERENCE_FILE: Final = "samtok.json"

_FILES: Final = ("*.json", "*.jinja", "*.txt", "*.safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskTokenizerReference:
    """Which mask tokenizer gives a model's mask words their meaning."""

    name: str
    """What `SAMTok.from_pretrained` loads, e.g. ``"tiny"`` or a hub id."""
    fingerprint: str
    """sha256 of its weights, `SAMTok.fingerprint`."""


@dataclass(frozen=True, slots=True)
class Mllm:
    """A model with the processor that makes its inputs."""

    model: PreTrainedModel
    """``Qwen3VLForConditionalGeneration`` or ``Qwen2_5_VLForConditionalGeneration``."""
    processor: ProcessorMixin
    """Image processor, tokenizer and chat template of the same model."""
    mask_tokenizer: MaskTokenizerReference | None = None
    """Set once the model has learned a tokenizer's words."""

    @property
    def tokenizer(self) -> Any:
        """The processor's text tokenizer."""
        return self.processor.tokenizer

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.model.device


def load_mllm(
    source: str | Path,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
) -> Mllm:
    """Load a model and its processor; remote code and pickles are refused.

    Args:
        source: ``"tiny-base"`` (packaged; a start for fine-tuning on scenes, without mask words),
            ``"tiny-chat"`` (packaged; fine-tuned on scenes in the words of the tokenizer
            ``"tiny"``), a folder in hub layout, local or ``s3://``, or a hub id.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, …
        dtype: of the weights; ``"auto"`` is bfloat16 on CUDA and float32 on the CPU.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: files are missing, unsafe or of no image-text model.
    """
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    folder = find_folder(source)
    try:
        model = transformers.AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=chosen_dtype,
            attn_implementation=_choose_attention(chosen_device, chosen_dtype),
            use_safetensors=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{source} cannot be loaded as a model: {error}") from error
    return Mllm(model.to(chosen_device).eval(), load_processor(folder), read_mask_tokenizer(folder))


def load_processor(source: str | Path) -> ProcessorMixin:
    """Load the processor alone, as CPU workers that prepare inputs do; see :func:`load_mllm`.

    Raises:
        CheckpointError: files are missing.
    """
    try:
        return transformers.AutoProcessor.from_pretrained(find_folder(source))
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{source} has no processor that can be loaded: {error}") from error


def read_mask_tokenizer(source: str | Path) -> MaskTokenizerReference | None:
    """Which tokenizer's words a model has learned, without loading it; None where none is named.

    Raises:
        CheckpointError: the model is not there, or its reference cannot be read.
    """
    path = find_folder(source) / REFERENCE_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())["mask_tokenizer"]
        return None if values is None else MaskTokenizerReference(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not as save_mllm writes it: {error}") from error


def save_mllm(mllm: Mllm, folder: str | Path) -> Path:
    """Write a folder in hub layout: weights (safetensors), configs, tokenizer, model card.

    ``AutoModelForImageTextToText`` and ``AutoProcessor`` load it, and so does :func:`load_mllm`.

    Returns:
        The folder.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    mllm.model.save_pretrained(path)
    mllm.processor.save_pretrained(path)
    reference = None if mllm.mask_tokenizer is None else asdict(mllm.mask_tokenizer)
    (path / REFERENCE_FILE).write_text(json.dumps({"mask_tokenizer": reference}, indent=2) + "\n")
    write_card(
        path,
        model_type=mllm.model.config.model_type,
        has_mask_words=MASK_START in mllm.tokenizer.get_vocab(),
        mask_tokenizer=reference,
    )
    return path


def find_folder(source: str | Path) -> Path:
    """The folder of a model, brought to this machine where it lies elsewhere.

    Args:
        source: see :func:`load_mllm`.

    Raises:
        CheckpointError: there is none.
    """
    if source in PACKAGED:
        return Path(__file__).parent / "packaged" / str(source)
    if str(source).startswith(SCHEME):
        return download_from_s3(str(source), _FILES)
    path = Path(source)
    if path.is_dir():
        return path
    expected = f"{' or '.join(map(repr, PACKAGED))}, a local folder, an s3:// folder"
    return download_from_hub(str(source), _FILES, expected=expected)


def _choose_attention(device: torch.device, dtype: torch.dtype) -> str:
    """FlashAttention where it is installed and can run (not run yet), else PyTorch's own."""
    can_flash = (
        device.type == "cuda"
        and dtype == torch.bfloat16
        and transformers.utils.is_flash_attn_2_available()
    )
    return "flash_attention_2" if can_flash else "sdpa"
