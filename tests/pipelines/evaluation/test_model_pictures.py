"""What pictures of answers show."""

import numpy as np

from pipelines.evaluation import model_pictures
from samtok.masks import encode_rle
from samtok.scenes import generate_scene
from samtok.tokenizer import SAMTok
from samtok.words import format_codes


class OneConversation:
    """Stands for the files of conversations."""

    def __init__(self, image_row):
        self.image_row = image_row

    def read(self, reference):
        yield self.image_row


def test_masks_of_the_question_are_shown_too(monkeypatch):
    items = []
    monkeypatch.setattr(model_pictures, "dialogue_panel", items.extend)
    scene = generate_scene(0, split="test")
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    codes = tokenizer.encode(scene.image, scene.masks[:2])
    asked, right = format_codes(codes)
    said = "<|mt_start|><|mt_0001|><|mt_0300|><|mt_end|>"
    row = {
        "task": "interactive_segmentation",
        "messages": [
            {"role": "user", "content": f"And left of {asked}?"},
            {"role": "assistant", "content": right},
        ],
        "target_words": [right],
        "mask_ids": ["1"],
    }
    image_row = {
        "image_uri": f"scene:{scene.scene_id}",
        "image": None,
        "height": scene.image.shape[0],
        "width": scene.image.shape[1],
        "masks": [{"words": right, "mask_id": "1", "rle": encode_rle(scene.masks[1])}],
        "conversations": [row],
    }
    answered = {"reference": "r", "answers": [said], "targets": [right]}
    model_pictures.draw_pictures({"a": [answered]}, OneConversation(image_row), tokenizer)
    model, truth = items
    assert set(model.masks) == {asked, said}
    assert set(truth.masks) >= {asked, right}
    rebuilt = tokenizer.decode(scene.image, codes[:1])[0].numpy()
    np.testing.assert_array_equal(truth.masks[asked], rebuilt)
    np.testing.assert_array_equal(truth.masks[right], scene.masks[1])
