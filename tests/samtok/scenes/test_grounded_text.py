"""The writer of texts keeps count of characters."""

from samtok.scenes.grounded_text import Span, TextWriter


def test_spans_are_the_characters_written():
    text = (
        TextWriter().write("we see ").point("a star", ["3"], "phrase").write(".").finish("caption")
    )
    assert text.text == "We see a star."
    assert text.spans == (Span(start=7, end=13, mask_ids=("3",), role="phrase"),)
    assert text.mask_ids == ("3",)


def test_a_mention_lies_within_what_encloses_it_and_does_not_count_as_answer():
    writer = TextWriter().point("find it.", ["0"], "instruction").write("\n")
    start = len(writer)
    writer.write("left of ").point("it", ["0"], "mention").write("?")
    text = writer.enclose(start, ["2", "1"], "instruction").finish("rounds")
    assert text.text == "Find it.\nLeft of it?"
    assert [(text.text[s.start : s.end], s.role) for s in text.spans] == [
        ("Find it.", "instruction"),
        ("Left of it?", "instruction"),
        ("it", "mention"),
    ]
    assert text.mask_ids == ("0", "2", "1")


def test_masks_named_twice_count_once_in_order():
    writer = TextWriter().point("a", ["2", "1"], "phrase").write(" ").point("b", ["1"], "phrase")
    assert writer.finish("caption").mask_ids == ("2", "1")


def test_only_sentences_get_capitals():
    assert TextWriter().write("one. two").finish("caption").text == "One. Two"
    assert TextWriter().write("the star").finish("referring").text == "the star"
    assert TextWriter().write("a star").finish("region").text == "a star"
