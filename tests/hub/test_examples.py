import pytest

from redct.documents import Document
from redct.hub.examples import example_chooser
from redct.task import Example, Prompt, Task

EXAMPLES = [
    Example("the soup was cold", "bad"),
    Example("the soup was hot and lovely", "good"),
    Example("rude waiter", "bad"),
    Example("a kind waiter", "good"),
    Example("the train was late", "bad"),
    Example("the train was on time", "good"),
]


def chosen(text: str = "x", **prompt) -> list[str]:
    task = Task(labels=["good", "bad"], examples=EXAMPLES, prompt=Prompt(**prompt))
    return [example.text for example in example_chooser(task)(Document("1", text, {}, None))]


def test_fixed_takes_the_first_of_each_label_in_turns() -> None:
    assert chosen() == []
    assert chosen(shots=2) == ["the soup was hot and lovely", "the soup was cold", "a kind waiter", "rude waiter"]


def test_random_follows_the_seed_and_not_the_document() -> None:
    draws = {tuple(chosen(text, shots=1, choice="random", seed=seed)) for text in "xy" for seed in range(40)}
    assert len(draws) == 9  # every pair of a good and a bad one
    assert chosen("x", shots=2, choice="random", seed=3) == chosen("y", shots=2, choice="random", seed=3)
    assert len(set(chosen(shots=3, choice="random"))) == 6


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("my soup arrived cold", "the soup was cold"), ("the trains are never on time", "the train was on time")],
)
def test_similar_puts_the_nearest_last(text, nearest) -> None:
    found = chosen(text, shots=1, choice="similar")
    assert found[-1] == nearest
    assert len(found) == 2
    assert {example.label for example in EXAMPLES if example.text in found} == {"good", "bad"}


def test_similar_is_cosine_of_tfidf() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    text = "was the waiter late"
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit([e.text for e in EXAMPLES])
    near = cosine_similarity(vectorizer.transform([e.text for e in EXAMPLES]), vectorizer.transform([text])).ravel()
    assert chosen(text, shots=3, choice="similar") == [EXAMPLES[n].text for n in near.argsort(kind="stable")]


def test_similar_never_shows_a_document_its_own_answer() -> None:
    assert "rude waiter" in chosen("rude waiters", shots=1, choice="similar")
    assert "rude waiter" not in chosen("rude waiter", shots=1, choice="similar")
