"""Built-in scenes: generated in the workers, so that a run needs no files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.corpus.index import write_shards
from pipelines.corpus.records import DecodedImage, DecodedMask, Index
from pipelines.image_decoding import SCENE_SCHEME
from pipelines.storage import Place
from samtok.errors import ConfigError
from samtok.masks import encode_rle
from samtok.scenes import SPLITS, describe_scene, generate_scene


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenesSource:
    """The first `num_images` scenes of a split."""

    num_images: int
    split: str
    seed: int
    images_per_shard: int = 128

    @property
    def name(self) -> str:
        """Value of the `source` column."""
        return "scenes"

    def identity(self) -> dict[str, Any]:
        """All settings that scenes depend on."""
        return {
            "source": self.name,
            "num_images": self.num_images,
            "split": self.split,
            "seed": self.seed,
        }

    def check(self) -> None:
        """There must be something to generate."""
        if self.num_images < 1:
            raise ConfigError(f"--num-images is {self.num_images}; at least 1 is needed")
        if self.split not in SPLITS:
            raise ConfigError(f"--split is {self.split!r}; allowed are {', '.join(SPLITS)}")

    def write_index(self, output: Place, *, limit: int | None) -> Index:
        """One row per scene; counting the masks means generating the scenes (2 ms each)."""
        count = self.num_images if limit is None else min(limit, self.num_images)
        num_masks = 0
        rows = []
        for index in range(count):
            scene = self._generate(index)
            num_masks += len(scene.masks)
            rows.append({"image_id": scene.scene_id, "payload": json.dumps({"index": index})})
        shards = write_shards(output, rows, images_per_shard=self.images_per_shard)
        return Index(
            shards=shards,
            num_images=count,
            num_masks=num_masks,
            quarantined={},
            num_quarantined_masks=0,
        )

    def decode(self, image_id: str, payload: str, *, with_texts: bool = False) -> DecodedImage:
        """Generate the scene; its masks are right by construction."""
        scene = self._generate(json.loads(payload)["index"])
        texts = describe_scene(scene, seed=self.seed) if with_texts else ()
        height, width = scene.image.shape[:2]
        return DecodedImage(
            image_id=image_id,
            image_uri=f"{SCENE_SCHEME}{scene.scene_id}",
            source=self.name,
            height=height,
            width=width,
            pixels=scene.image,
            is_carried=True,
            masks=[
                DecodedMask(mask_id=o.mask_id, category=o.category, rle=encode_rle(mask))
                for o, mask in zip(scene.objects, scene.masks, strict=True)
            ],
            texts=[asdict(text) for text in texts],
        )

    def _generate(self, index: int) -> Any:
        return generate_scene(index, split=self.split, seed=self.seed)
