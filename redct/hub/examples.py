"""Which of the codebook's examples stand in a prompt."""

import random
from collections.abc import Callable

from redct.documents import Document
from redct.task import Example, Task

Chooser = Callable[[Document], list[Example]]


def example_chooser(task: Task) -> Chooser:
    """Returns the function that chooses `task.prompt.shots` examples of every label for a document.

    The labels take turns, so that none of them stands together at the end, where it would be repeated most. The
    most similar examples are in ascending order of their similarity instead. An example with the document's own
    text is never shown to it by `similar`.
    """
    prompt = task.prompt
    if prompt.choice == "similar" and prompt.shots:
        return _similar(task)
    groups = [[example for example in task.examples if example.label == label] for label in task.labels]
    if prompt.choice == "random":
        drawing = random.Random(prompt.seed)  # noqa: S311 - nothing secret
        groups = [drawing.sample(group, prompt.shots) for group in groups]
    turns = zip(*(group[: prompt.shots] for group in groups), strict=True)
    chosen = [example for turn in turns for example in turn]
    return lambda _: chosen


def _similar(task: Task) -> Chooser:
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - slow to import, seldom needed

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5))
    known = vectorizer.fit_transform([example.text for example in task.examples])  # rows of length 1

    def choose(document: Document) -> list[Example]:
        similarity = (known @ vectorizer.transform([document.text]).T).toarray().ravel()
        order = sorted(range(len(similarity)), key=lambda n: -similarity[n])
        order = [n for n in order if task.examples[n].text.strip() != document.text.strip()]
        best: list[int] = []
        for label in task.labels:
            best += [n for n in order if task.examples[n].label == label][: task.prompt.shots]
        return [task.examples[n] for n in sorted(best, key=lambda n: similarity[n])]

    return choose
