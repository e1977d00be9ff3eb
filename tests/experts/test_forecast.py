"""What another 100 answers bring, against what they really bring on synthetic documents."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import normalize

from redct.experts.forecast import Curve, learning_curve, notes, prevalence_forecast, text_features

LABELS = ["against", "for", "neutral"]
WIDTH = 20


def documents(n: int, seed: int, bias: float):
    """Features, true labels, and distributions of an LLM that looks in a wrong direction as far as `bias`."""
    fixed, rng = np.random.default_rng(5), np.random.default_rng(seed)
    right, wrong = fixed.normal(size=(2, WIDTH, 3))
    x = rng.normal(size=(n, WIDTH))
    label = (x @ right + rng.gumbel(size=(n, 3))).argmax(axis=1)
    scores = np.exp(x @ (right + bias * wrong))
    return x, label, scores / scores.sum(axis=1, keepdims=True)


def real_score(answers: int, n: int, bias: float, seed: int) -> float:
    """Macro-F1 on new documents after training on n, of which some are answered: written anew, with its own student."""
    x, label, probs = documents(n + 3000, seed, bias)
    probs[:answers] = np.eye(3)[label[:answers]]
    x = normalize(x)
    student = LogisticRegression(C=10, max_iter=500)
    student.fit(np.repeat(x[:n], 3, axis=0), np.tile([0, 1, 2], n), probs[:n].ravel())
    return f1_score(label[n:], student.predict(x[n:]), average="macro")


@pytest.mark.parametrize(("bias", "answers", "least"), [(1.2, 200, 0.03), (0.0, 200, -0.01)])
def test_interval_covers_what_answers_really_bring(bias, answers, least) -> None:
    n, repetitions = 600, 10
    real = [real_score(answers + 100, n, bias, 100 + r) - real_score(answers, n, bias, 100 + r) for r in range(6)]
    gain = np.mean(real)
    assert least < gain
    forecasts = []
    for seed in range(repetitions):
        x, label, probs = documents(n, seed, bias)
        forecasts.append(learning_curve(x.__getitem__, probs, np.arange(answers), label[:answers], None, seed))
    covered = sum(f.low <= gain <= f.high for f in forecasts)
    assert covered >= 8
    gains = [f.gain for f in forecasts]
    assert np.mean(gains) == pytest.approx(gain, abs=3 * np.std(gains) / np.sqrt(repetitions) + 0.004)
    # An interval from 0 to 1 would cover everything.
    assert np.mean([f.high - f.low for f in forecasts]) < 0.09


def test_curve_of_answers_that_help() -> None:
    x, label, probs = documents(700, 1, 1.2)
    curve = learning_curve(x.__getitem__, probs, np.arange(200), label[:200], None, 1)
    assert curve.sizes == (0, 40, 80, 120, 160)
    assert (curve.answered, curve.more) == (200, 100)
    assert curve.scores[0] < curve.scores[-1] < curve.now < curve.then
    assert curve.low < curve.gain < curve.high
    further = learning_curve(x.__getitem__, probs, np.arange(200), label[:200], None, 1, more=200)
    assert further.gain > curve.gain
    assert (curve.now, curve.scores) == (further.now, further.scores)
    again = learning_curve(x.__getitem__, probs, np.arange(200), label[:200], None, 1)
    assert again == curve
    assert learning_curve(x.__getitem__, probs, np.arange(200), label[:200], None, 2) != curve


def test_few_answers_in_a_large_corpus_bring_less_than_in_a_small_one() -> None:
    x, label, probs = documents(4500, 3, 1.2)
    given = np.arange(100)
    small = learning_curve(x[:400].__getitem__, probs[:400], given, label[:100], None, 3)
    large = learning_curve(x.__getitem__, probs, given, label[:100], None, 3)
    assert large.gain < small.gain / 2


def test_weights_count_and_a_missing_one_makes_all_alike() -> None:
    x, label, probs = documents(400, 4, 1.2)
    arguments = (x.__getitem__, probs, np.arange(150), label[:150])
    alike = learning_curve(*arguments, None, 4)
    assert learning_curve(*arguments, np.full(150, 2.0), 4) == alike
    assert learning_curve(*arguments, np.r_[np.nan, np.full(149, 9.0)], 4) == alike
    # The student without answers, judged by scikit-learn; the real one differs a little from fold to fold.
    z, student = normalize(x), LogisticRegression(C=10, max_iter=500)
    student.fit(np.repeat(z[150:], 3, axis=0), np.tile([0, 1, 2], 250), probs[150:].ravel())
    said = student.predict(z[:150])
    weight = np.where(said == label[:150], 4.0, 1.0)
    expected = f1_score(label[:150], said, average="macro", sample_weight=weight)
    assert learning_curve(*arguments, weight, 4).scores[0] == pytest.approx(expected, abs=0.03)
    assert expected > alike.scores[0] + 0.15


def test_only_documents_that_serve_are_asked_for() -> None:
    x, label, probs = documents(3000, 5, 1.0)
    probs[500:600] = np.nan
    asked = []

    def features(at):
        asked.append(at)
        return x[at]

    answered = np.arange(520, 580)
    assert learning_curve(features, probs, answered, label[answered], None, 5) is not None
    (at,) = asked
    assert len(set(at.tolist())) == len(at) == 60 + 2000
    assert not set(at.tolist()) & ({*range(500, 520)} | {*range(580, 600)})


@pytest.mark.parametrize("seen", [[0], [0, 2]])
def test_labels_that_nobody_gave(seen) -> None:
    x, label, probs = documents(300, 6, 1.0)
    at = np.flatnonzero(np.isin(label, seen))[:60]
    curve = learning_curve(x.__getitem__, probs, at, label[at], None, 6)
    assert 0 < curve.scores[0] < 1
    assert 0 <= curve.now <= 1
    assert np.isfinite([curve.low, curve.high]).all()


def test_an_answered_corpus_and_an_llm_without_labels() -> None:
    x, label, probs = documents(120, 7, 1.0)
    curve = learning_curve(x.__getitem__, probs, np.arange(120), label, None, 7)
    assert curve.scores[-1] > 0.5
    # No label at all to train on with no answers: the curve begins with the first of them.
    nothing = learning_curve(x.__getitem__, np.full((120, 3), np.nan), np.arange(60), label[:60], None, 7)
    assert nothing.scores[0] < nothing.scores[-1]
    # One label everywhere.
    same = learning_curve(x.__getitem__, np.tile([1.0, 0, 0], (120, 1)), np.arange(60), np.zeros(60), None, 7)
    assert same.scores == (1,) * 5
    assert (same.gain, same.low, same.high) == (0, 0, 0)


def test_too_few_answers() -> None:
    x, label, probs = documents(100, 8, 1.0)
    assert learning_curve(x.__getitem__, probs, np.arange(49), label[:49], None, 8) is None
    assert learning_curve(x.__getitem__, probs, [], [], None, 8) is None


def test_texts_are_features() -> None:
    rng = np.random.default_rng(9)
    label = rng.integers(0, 2, 300)
    words = [["tea", "cup", "kettle"], ["bus", "train", "tram"]]
    texts = [" ".join(rng.choice([*words[k], "the", "a", "of", "we"], 8)) for k in label]
    features = text_features(texts)
    assert features.shape == (300, 2**15)
    assert np.allclose(features.multiply(features).sum(axis=1), 2)  # two kinds of features of unit length each
    probs = np.full((300, 2), 0.5)
    curve = learning_curve(
        lambda at: text_features([texts[n] for n in at]), probs, np.arange(100), label[:100], None, 9
    )
    assert curve.scores[-1] > 0.9


def test_half_widths_against_samples() -> None:
    corpus, answered, more, share = 800, 200, 100, 0.3
    truth = np.arange(corpus) < share * corpus
    estimates = {
        n: [truth[np.random.default_rng(seed).permutation(corpus)[:n]].mean() for seed in range(3000)]
        for n in (answered, answered + more)
    }
    error = np.std(estimates[answered])
    now, then = prevalence_forecast([error, np.nan], answered, corpus, more)
    assert now[0] == pytest.approx(1.959964 * error)
    assert then[0] == pytest.approx(1.959964 * np.std(estimates[answered + more]), rel=0.05)
    assert np.isnan([now[1], then[1]]).all()


def test_nothing_is_uncertain_when_all_is_answered() -> None:
    assert prevalence_forecast([0.02], 750, 800)[1] == 0
    assert prevalence_forecast([0.0], 800, 800)[1] == 0
    now, then = prevalence_forecast([0.02], 100, 10**8, 300)
    assert then[0] == pytest.approx(now[0] / 2, rel=1e-5)


def curve(gain: float) -> Curve:
    return Curve(200, 100, (0, 160), (0.5, 0.6), 0.61, 0.61 + gain, gain - 0.03, gain + 0.03)


def half_widths(fall: float):
    now = np.array([0.02, 0.041, np.nan])
    return now, now - np.array([0, fall, np.nan])


def test_notes() -> None:
    lines = notes(200, curve(0.02), LABELS, half_widths(0.007))
    assert lines == [
        "another 100 answers: macro-F1 0.610 -> 0.630 (+0.020, 95 % interval -0.010 to +0.050) of a light student, "
        "which stands in for the edge classifier",
        "another 100 answers: prevalence of 'for', the least certain, +-4.1 -> +-3.4 points",
        "another 100 answers are likely worth it",
    ]


@pytest.mark.parametrize(
    ("gain", "fall", "verdict"),
    [(0.011, 0.0, "worth it"), (0.009, 0.006, "worth it"), (0.009, 0.004, "little"), (-0.02, None, "little"),
     (0.011, None, "worth it"), (None, 0.006, "worth it")],
)  # fmt: skip
def test_what_is_little(gain, fall, verdict) -> None:
    given = None if gain is None else curve(gain)
    lines = notes(200, given, LABELS, None if fall is None else half_widths(fall))
    assert verdict in lines[-1]
    assert sum("worth it" in line or "little" in line for line in lines) == 1


def test_no_verdict_without_ground() -> None:
    few = notes(32, None, LABELS, half_widths(0.004))
    assert few[0].endswith("too few answers to tell what they bring to training (32, expected 50 or more)")
    assert len(few) == 2
    assert len(notes(32, None, LABELS, (np.full(3, np.nan), np.full(3, np.nan)))) == 1
