"""Reading and writing tokenizers.

A native checkpoint is a folder with ``config.json`` and ``model.safetensors``. Weights carry the
published key names (``model.sam2_model.…``, ``quantizer.codebooks.…``), so the two kinds differ
in container only. Nothing here unpickles code: ``.pth`` files load with ``weights_only=True``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from samtok.bucket import SCHEME, download_from_s3
from samtok.errors import CheckpointError, ConfigError
from samtok.hub import download_from_hub
from samtok.tokenizer.config import PRESETS, TokenizerConfig, config_from_dict
from samtok.tokenizer.network import TokenizerNetwork

CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"
PACKAGED: Final = ("tiny",)

_OURS, _PUBLISHED = "sam2.", "model.sam2_model."


def load_network(source: str | Path, config: TokenizerConfig | None = None) -> TokenizerNetwork:
    """Build the network that `source` holds; see ``SAMTok.from_pretrained`` for its forms.

    Raises:
        CheckpointError: files are missing, unsafe or do not fit the config.
    """
    path = Path(source)
    if source not in PACKAGED and path.is_file():
        return _load_weights_file(path, config)
    return _load_folder(find_folder(source, (CONFIG_FILE, WEIGHTS_FILE, "*.pth")), config)


def find_folder(source: str | Path, patterns: Sequence[str]) -> Path:
    """The folder of a tokenizer, brought to this machine where it lies elsewhere.

    Args:
        source: see ``SAMTok.from_pretrained``; of a file, the folder that it lies in.
        patterns: names of the files wanted from elsewhere, with ``*``.

    Raises:
        CheckpointError: there is none.
    """
    if source in PACKAGED:
        return Path(__file__).parent / "packaged" / str(source)
    if str(source).startswith(SCHEME):
        return download_from_s3(str(source), patterns)
    path = Path(source)
    if path.exists():
        return path if path.is_dir() else path.parent
    expected = f"{' or '.join(map(repr, PACKAGED))}, a local folder or .pth file, an s3:// folder"
    return download_from_hub(str(source), patterns, expected=expected)


def save_network(network: TokenizerNetwork, folder: str | Path) -> Path:
    """Write ``config.json`` and ``model.safetensors``; returns the folder."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.cpu().contiguous() for k, v in published_state_dict(network).items()}
    save_file(tensors, path / WEIGHTS_FILE, metadata={"format": "pt"})
    (path / CONFIG_FILE).write_text(json.dumps(network.config.to_dict(), indent=2) + "\n")
    return path


def published_state_dict(network: TokenizerNetwork) -> dict[str, torch.Tensor]:
    """The network's weights under the published key names, in the published order."""
    return {
        _PUBLISHED + key.removeprefix(_OURS) if key.startswith(_OURS) else key: value
        for key, value in network.state_dict().items()
    }


def load_published_state_dict(
    network: TokenizerNetwork, weights: dict[str, torch.Tensor], where: str = "state dict"
) -> None:
    """Load weights with published key names, strictly.

    Codebooks may come with or without their padding row.

    Raises:
        CheckpointError: keys are missing, unknown, or have other shapes than the network's.
    """
    ours = {
        _OURS + key.removeprefix(_PUBLISHED) if key.startswith(_PUBLISHED) else key: value
        for key, value in weights.items()
    }
    expected = network.state_dict()
    for key, value in ours.items():
        if _is_codebook_without_padding(key, value, expected):
            ours[key] = torch.cat([value, value.new_zeros(1, value.shape[1])])
    missing = sorted(set(expected) - set(ours))
    unknown = sorted(set(ours) - set(expected))
    misshapen = [
        f"{key}: {tuple(value.shape)} instead of {tuple(expected[key].shape)}"
        for key, value in ours.items()
        if key in expected and value.shape != expected[key].shape
    ]
    if missing or unknown or misshapen:
        raise CheckpointError(
            f"{where} does not fit the tokenizer config: {len(missing)} keys missing "
            f"{missing[:3]}, {len(unknown)} unknown {unknown[:3]}, {len(misshapen)} of another "
            f"shape {misshapen[:3]}; pass the config the weights were trained with"
        )
    network.load_state_dict(ours)


def load_sam2_weights(network: TokenizerNetwork, path: str | Path) -> None:
    """Start a tokenizer from public SAM 2.1 weights (``sam2.1_hiera_*.pt``).

    The mask encoder's transformer, which they lack, starts as a copy of the mask decoder's, whose
    layout it shares (ours); its mask token and the codebooks stay random.

    Args:
        network: of the size of the weights.
        path: the file, or a state dict of the same form.

    Raises:
        CheckpointError: the file is none, or of another size.
    """
    weights = _read_weights(Path(path))
    encoder, decoder = "sam_mask_encoder.", "sam_mask_decoder."
    copied = {
        encoder + key.removeprefix(decoder): value
        for key, value in weights.items()
        if key.startswith(f"{decoder}transformer.")
    }
    fresh = {
        key: value
        for key, value in published_state_dict(network).items()
        if key.startswith("quantizer.") or key.endswith("sam_mask_encoder.mask_tokens.weight")
    }
    ours = {_PUBLISHED + key: value for key, value in {**weights, **copied}.items()}
    load_published_state_dict(network, {**ours, **fresh}, str(path))


def _is_codebook_without_padding(
    key: str, value: torch.Tensor, expected: dict[str, torch.Tensor]
) -> bool:
    if not (key.startswith("quantizer.codebooks.") and key.endswith(".weight") and key in expected):
        return False
    return value.ndim == 2 and len(value) == len(expected[key]) - 1


def _load_folder(folder: Path, config: TokenizerConfig | None) -> TokenizerNetwork:
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        pickles = sorted(folder.glob("*.pth"))
        if len(pickles) != 1:
            raise CheckpointError(
                f"{folder} holds neither {WEIGHTS_FILE} nor exactly one .pth file; pass a folder "
                f"written by save_pretrained, a published .pth file, or one of {PACKAGED}"
            )
        weights = pickles[0]
    return _load_weights_file(weights, config)


def _load_weights_file(path: Path, config: TokenizerConfig | None) -> TokenizerNetwork:
    beside = path.parent / CONFIG_FILE
    if config is None and beside.is_file():
        config = _parse_config(beside.read_bytes(), str(beside))
    return _build(_read_weights(path), config, str(path))


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path} cannot be read as weights: {error}") from error
    except Exception as error:  # torch re-raises the unpickler's own errors, of any type
        raise CheckpointError(
            f"{path} is refused: it holds more than plain tensors ({error})"
        ) from error
    if isinstance(loaded, dict) and set(loaded) == {"model"}:  # as SAM 2.1 is published
        loaded = loaded["model"]
    if not isinstance(loaded, dict) or not all(
        isinstance(v, torch.Tensor) for v in loaded.values()
    ):
        raise CheckpointError(f"{path} holds no plain state dict (names to tensors)")
    return loaded


def _parse_config(content: bytes, where: str) -> TokenizerConfig:
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise ConfigError("the top level is not an object")
        return config_from_dict(values)
    except (ValueError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{where}: {CONFIG_FILE} is not a tokenizer config: {error}"
        ) from error


def _build(
    weights: dict[str, torch.Tensor], config: TokenizerConfig | None, where: str
) -> TokenizerNetwork:
    network = TokenizerNetwork(config or _recognise(weights, where))
    load_published_state_dict(network, weights, where)
    return network


def _recognise(weights: dict[str, torch.Tensor], where: str) -> TokenizerConfig:
    """Find the named size by the trunk's width, depth and background positions."""
    trunk = f"{_PUBLISHED}image_encoder.trunk."
    blocks = {k.removeprefix(f"{trunk}blocks.").split(".")[0] for k in weights if ".blocks." in k}
    positions = weights.get(f"{trunk}pos_embed", torch.empty(0))
    found = (*positions.shape[1:], len(blocks))
    for config in PRESETS.values():
        shape = config.trunk
        if found == (shape.embed_dim, *shape.window_pos_embed_bkg_spatial_size, sum(shape.stages)):
            return config
    raise CheckpointError(
        f"{where} has no {CONFIG_FILE} beside it and is none of the sizes {sorted(PRESETS)}; "
        "pass config=TokenizerConfig(…)"
    )
