"""Settings that cannot be used are named."""

import sys

import pytest

from samtok.errors import ConfigError
from samtok.mllm.training import SftConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"warmup_share": 1.0}, "warmup_share is 1.0"),
        ({"lora_dropout": -0.1}, "lora_dropout is -0.1"),
        ({"lora_rank": -1}, "lora_rank is -1"),
        ({"vision_cache_mib": -1}, "vision_cache_mib is -1"),
        ({"vision_cache_mib": 8, "freeze_vision": True}, "set freeze_vision and freeze_projector"),
        ({"parallel": "fsdp", "new_row_rate": 2.0}, "new_row_rate is 2.0 with parallel fsdp"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        SftConfig(**settings)


def test_adapters_ask_for_their_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert SftConfig().lora_rank == 0
    with pytest.raises(ConfigError, match=r"pip install 'samtok\[lora\]'"):
        SftConfig(lora_rank=8)
