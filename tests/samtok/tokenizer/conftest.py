"""Stand-in weights and stored cases of the published implementation (tests/fixtures/parity)."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from samtok import SAMTok
from samtok.tokenizer.checkpoint import load_published_state_dict
from samtok.tokenizer.config import TokenizerConfig, TrunkConfig
from samtok.tokenizer.network import TokenizerNetwork

PARITY = Path(__file__).parents[2] / "fixtures" / "parity"


class ParityFixtures:
    """Reads the stored numbers; weights come from the fill rule, so none are stored."""

    def __init__(self):
        spec = importlib.util.spec_from_file_location("parity_fill", PARITY / "fill.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.fill = module.fill

    def config(self, name):
        stored = json.loads((PARITY / name / "config.json").read_text())
        trunk = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in stored["image_encoder"]["trunk"].items()
            if key != "cls"
        }
        return TokenizerConfig(image_size=stored["image_size"], trunk=TrunkConfig(**trunk))

    def keys(self, name):
        return json.loads((PARITY / name / "keys.json").read_text())

    def weights(self, name):
        return {
            entry["key"]: torch.from_numpy(self.fill(entry["key"], entry["shape"]))
            for entry in self.keys(name)
        }

    def load_tokenizer(self, name):
        network = TokenizerNetwork(self.config(name))
        load_published_state_dict(network, self.weights(name))
        return SAMTok(network, device="cpu")

    def load_cases(self, name):
        return self.load_npz(f"{name}/cases.npz")

    def load_npz(self, path):
        with np.load(PARITY / path) as stored:
            return dict(stored)


@pytest.fixture(scope="session")
def parity_fixtures():
    return ParityFixtures()


@pytest.fixture(scope="session")
def small_tokenizer(parity_fixtures):
    return parity_fixtures.load_tokenizer("small")


@pytest.fixture(scope="session")
def small_cases(parity_fixtures):
    return parity_fixtures.load_cases("small")
