"""How answers are read and marked."""

from samtok.mllm.pretraining import exam
from samtok.mllm.pretraining.lessons import format_box
from samtok.scenes import describe_scene, generate_scene


def answer_rightly(scenes):
    """The right answer to every question of the exam, by prompt and image."""
    known = {}
    for scene in scenes:
        boxes = {thing.mask_id: format_box(scene, thing) for thing in scene.objects}
        for text in describe_scene(scene):
            if text.kind == "referring":
                answer = " ".join(boxes[m] for m in text.mask_ids) or "Nowhere."
                known[scene.image.tobytes(), f"Find {text.text}."] = answer
        for thing in scene.objects:
            name = f"{thing.texture} {thing.color} {thing.category}"
            known[scene.image.tobytes(), f"Name {boxes[thing.mask_id]}."] = name
    return known


def test_right_answers_get_full_marks(monkeypatch):
    scenes = [generate_scene(index, split="val") for index in range(6)]
    known = answer_rightly(scenes)
    monkeypatch.setattr(
        exam,
        "generate",
        lambda mllm, images, prompts, config: [
            known[i.tobytes(), p] for i, p in zip(images, prompts, strict=True)
        ],
    )
    assert set(exam.examine(None, scenes).values()) == {1.0}


def test_nonsense_gets_none_but_refusals(monkeypatch):
    scenes = [generate_scene(index, split="val") for index in range(6)]
    monkeypatch.setattr(exam, "generate", lambda mllm, images, prompts, config: ["?"] * len(images))
    marks = exam.examine(None, scenes)
    assert marks.pop("refused") == 1.0
    assert set(marks.values()) == {0.0}


def test_boxes_are_read_from_text():
    assert exam.read_boxes("at [01 02 30 40], [5 6 7 8] and [50 60 70 80]") == [
        (1, 2, 30, 40),
        (50, 60, 70, 80),
    ]
