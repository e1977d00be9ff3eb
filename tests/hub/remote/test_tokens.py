import pytest
from conftest import tiny_tokenizer

from redct.errors import InputError
from redct.hub.remote.tokens import token_counter

TEXTS = ["Against or For?", "caf\u00e9 \U0001f600\n\n", "", "<s> strongly agree </s>"]


def test_tokens_are_counted_with_the_models_own_tokenizer(tmp_path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    counter = token_counter("any", str(tmp_path))
    assert counter.exact
    for text in TEXTS:
        n = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert counter.count(text) == (n, n)
    turns = [{"role": "user", "content": text} for text in TEXTS]
    assert counter.of(turns)[0] == sum(counter.count(text)[0] for text in TEXTS) + 4 * len(TEXTS)
    assert token_counter("any", "tiny-mistral").count("against") == (1, 1)


def test_without_a_tokenizer_the_length_tells() -> None:
    counter = token_counter("no-such-model", None)
    assert not counter.exact
    low, high = counter.count("a sentence of some thirty bytes")
    assert low < 7 < high


def test_a_tokenizer_that_cannot_be_loaded_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"labeler\.tokenizer: cannot load .* expected a tokenizer\.json"):
        token_counter("any", str(tmp_path))
