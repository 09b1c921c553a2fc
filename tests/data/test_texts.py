"""Text as windows of bytes or characters, without copies."""

import numpy as np
import pytest

import jnn

WORDS = "Grüße, 世界! " * 20


def test_windows_are_views_whose_targets_come_next(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(WORDS, encoding="utf-8")
    raw = np.frombuffer(WORDS.encode(), np.uint8)
    for source in (path, str(path), WORDS, WORDS.encode(), [path]):
        found = jnn.data.text(source, 7, test=0.25)
        border = len(raw) - round(0.25 * len(raw))
        for part, ids in ((found.train, raw[:border]), (found.test, raw[border:])):
            assert part is not None
            n = (len(ids) - 1) // 7
            np.testing.assert_array_equal(part.x.reshape(-1), ids[: 7 * n])
            np.testing.assert_array_equal(part.y.reshape(-1), ids[1 : 7 * n + 1])
            assert part.x.dtype == np.uint8
            assert np.shares_memory(part.x, part.y)
    mapped = jnn.data.text(path, 7, stride=1, test=0.0)
    assert isinstance(mapped.train.x, np.memmap)  # What `fit` reads as it goes.
    assert isinstance(mapped.train.y, np.memmap)
    assert mapped.train.x.shape == (len(raw) - 7, 7)
    assert mapped.train.x.strides == (1, 1)
    assert mapped.test is None
    assert mapped.alphabet.decode(mapped.train.x[:, 0]) == WORDS.encode()[:-7].decode(
        errors="replace"
    )


def test_characters_are_numbered_in_order():
    found = jnn.data.text(WORDS, 4, letters="characters")
    alphabet = found.alphabet
    assert alphabet.characters == "".join(sorted(set(WORDS)))
    assert alphabet.size == len(set(WORDS))
    assert alphabet.decode(found.train.x[:3].ravel()) == WORDS[:12]
    np.testing.assert_array_equal(alphabet.encode(WORDS)[:12], found.train.x[:3].ravel())
    assert jnn.data.Alphabet("".join(map(chr, range(300)))).encode("aÿ").dtype == np.uint16


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: jnn.data.text("short", 9), r"longer than a window of 9 .*no file, of 5 letters"),
        (lambda: jnn.data.text(WORDS, 40), "letters, 34 of them in a part"),
        (lambda: jnn.data.text(b"\xff" * 99, 3, letters="characters"), "in UTF-8.*takes any file"),
        (lambda: jnn.data.text(WORDS, 3, letters="words"), "'bytes', 'characters'"),
        (lambda: jnn.data.Alphabet("ab").encode("abc"), "2 characters, got 'c' among them"),
        (lambda: jnn.data.Alphabet("ab").decode([2]), r"in 0 \.\.\. 1, got 2 to 2"),
    ],
)
def test_what_is_no_text_gets_a_sentence(call, fault):
    with pytest.raises(ValueError, match=fault):
        call()


def test_a_language_model_is_trained_on_a_file_that_is_read_meanwhile(tmp_path):
    path = tmp_path / "letters.txt"
    path.write_text("abcdefgh" * 100)
    found = jnn.data.text(path, 8)
    net = jnn.serial(jnn.embedding(256, 8), jnn.dense(256))
    fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(0.1), found.train, epochs=3,
                  batch_size=16, validation=found.test, metrics="accuracy",
                  progress=None)  # fmt: skip
    assert fit.history["validation_accuracy"][-1] == 1
    after = net(fit.params, found.alphabet.encode("abc")).argmax(-1)
    assert found.alphabet.decode(np.asarray(after)) == "bcd"
