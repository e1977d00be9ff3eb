import json
from dataclasses import asdict
from itertools import combinations, permutations

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa

from redct.experts import Answer
from redct.experts.agreement import Agreement, _one_against_rest, notes, report
from redct.experts.coefficients import alphas, cohen_kappas, fleiss_kappas

LABELS = ["a", "b", "c"]


def alpha_by_definition(units: list[list[int]]) -> float:
    """1 - D_o / D_e, pair by pair of values, as the definition has it."""
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    observed = sum(
        sum(x != y for x, y in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(values)  # fmt: skip
    expected = sum(x != y for x, y in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


def random_units(seed: int, n: int = 40, k: int = 3) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    return [
        [int(t if rng.random() < 0.7 else rng.integers(0, k)) for _ in range(rng.integers(0, 5))] for t in truth
    ]  # fmt: skip


def counts_of(units: list[list[int]], k: int = 3) -> np.ndarray:
    return np.array([np.bincount(unit, minlength=k) if unit else np.zeros(k, int) for unit in units])


def answers_of(table: dict[str, dict[str, str]]) -> list[Answer]:
    return [Answer(d, who, label=label) for who, said in table.items() for d, label in said.items()]


def simulated(n: int, right: float, seed: int = 0, raters: int = 3) -> list[Answer]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    return answers_of(
        {
            f"r{r}": {f"d{i}": LABELS[t if rng.random() < right else rng.integers(0, 3)] for i, t in enumerate(truth)}
            for r in range(raters)
        }
    )


def test_alpha_of_a_hand_computed_example() -> None:
    """Two annotators, ten documents, two labels."""
    one = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    two = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    # Coincidences: o_01 = o_10 = 4, o_00 = 10, o_11 = 2; n_0 = 14, n_1 = 6, n = 20.
    # alpha = 1 - (n - 1) o_01 / (n_0 n_1) = 1 - 19 * 4 / 84.
    units = [list(pair) for pair in zip(one, two, strict=True)]
    assert float(alphas(counts_of(units, 2), np.ones(10))) == pytest.approx(1 - 19 * 4 / 84)
    assert alpha_by_definition(units) == pytest.approx(1 - 19 * 4 / 84)


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_the_definition_and_of_the_library(seed: int) -> None:
    units = random_units(seed)
    counts = counts_of(units)
    ours = float(alphas(counts, np.ones(len(counts))))
    assert ours == pytest.approx(alpha_by_definition(units))
    assert ours == pytest.approx(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))
    repeated = np.random.default_rng(seed).integers(0, 4, len(counts))
    again = [unit for unit, times in zip(units, repeated, strict=True) for _ in range(times)]
    assert float(alphas(counts, repeated)) == pytest.approx(alpha_by_definition(again))


def test_alpha_of_krippendorffs_own_example() -> None:
    """Krippendorff 2011, Computing Krippendorff's alpha-reliability, section C: four observers, alpha .743."""
    observers = [
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    ]
    said = [
        Answer(f"d{n}", f"observer {who}", label=value)
        for who, row in enumerate(observers)
        for n, value in enumerate(row.split())
        if value != "."
    ]
    found = report(said, ["1", "2", "3", "4", "5"])
    assert found.alpha is not None
    assert found.alpha.value == pytest.approx(0.743, abs=5e-4)


def test_fleiss_of_a_published_example() -> None:
    """Fleiss' kappa as worked out in the literature for 10 subjects, 14 raters and 5 categories: .210."""
    rows = [
        "0 0 0 0 14",
        "0 2 6 4 2",
        "0 0 3 5 6",
        "0 3 9 2 0",
        "2 2 8 1 1",
        "7 7 0 0 0",
        "3 2 6 3 0",
        "2 5 3 2 2",
        "6 5 2 1 0",
        "0 2 2 3 7",
    ]
    counts = np.array([[int(n) for n in row.split()] for row in rows])
    assert fleiss_kappas(counts, np.ones((1, 10)))[0] == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize("seed", range(3))
def test_fleiss_is_that_of_statsmodels(seed: int) -> None:
    counts = np.random.default_rng(seed).multinomial(4, [0.5, 0.3, 0.2], size=30)
    times = np.random.default_rng(seed).integers(0, 3, 30)
    assert float(fleiss_kappas(counts, np.ones(30))) == pytest.approx(fleiss_kappa(counts))
    assert float(fleiss_kappas(counts, times)) == pytest.approx(fleiss_kappa(np.repeat(counts, times, axis=0)))


def test_fleiss_with_unequal_numbers_weighs_documents_equally() -> None:
    counts = np.array([[2, 0], [0, 2], [3, 1], [1, 0]])  # the last has one vote and counts nothing
    chance = (5 / 8) ** 2 + (3 / 8) ** 2
    assert float(fleiss_kappas(counts, np.ones(4))) == pytest.approx(((1 + 1 + 0.5) / 3 - chance) / (1 - chance))


def test_cohen_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 3, (2, 50))
    y = np.where(rng.random(50) < 0.6, x, y)
    table = np.zeros((3, 3), dtype=np.int64)
    np.add.at(table, (x, y), 1)
    assert float(cohen_kappas(table)) == pytest.approx(cohen_kappa_score(x, y))
    for k in range(3):
        of_label = cohen_kappas(np.stack([_one_against_rest(table, k)] * 2))
        assert of_label == pytest.approx(cohen_kappa_score(x == k, y == k))


def test_report_of_several_annotators() -> None:
    answers = simulated(60, 0.8)
    llm = {f"d{i}": LABELS[i % 3] for i in range(40)} | {"d41": "not a label", "elsewhere": "a"}
    found = report(answers, LABELS, llm)
    said = {who: {a.document: a.label for a in answers if a.annotator == who} for who in ("r0", "r1", "r2")}
    counts = np.array([[[s[f"d{i}"] for s in said.values()].count(x) for x in LABELS] for i in range(60)])
    assert (found.documents, found.overlap, found.annotators) == (60, 60, {"r0": 60, "r1": 60, "r2": 60})
    assert found.fleiss.value == pytest.approx(fleiss_kappa(counts))
    for k, each in enumerate(found.labels):
        binary = np.stack([counts[:, k], 3 - counts[:, k]], axis=1)
        assert each.votes == counts[:, k].sum()
        assert each.fleiss.value == pytest.approx(fleiss_kappa(binary))
        assert each.alpha.value == pytest.approx(
            krippendorff.alpha(value_counts=binary, level_of_measurement="nominal")
        )
    assert [(p.first, p.second) for p in found.pairs] == list(combinations(["r0", "r1", "r2"], 2))
    pair = found.pairs[0]
    x, y = ([said[who][f"d{i}"] for i in range(60)] for who in ("r0", "r1"))
    assert pair.kappa.value == pytest.approx(cohen_kappa_score(x, y))
    assert pair.same.value == pytest.approx(np.mean(np.array(x) == np.array(y)))
    assert pair.labels["b"].value == pytest.approx(cohen_kappa_score(np.array(x) == "b", np.array(y) == "b"))
    assert [(p.first, p.documents) for p in found.llm] == [("r0", 40), ("r1", 40), ("r2", 40)]
    kappa = cohen_kappa_score([said["r2"][f"d{i}"] for i in range(40)], [llm[f"d{i}"] for i in range(40)])
    assert found.llm[2].kappa.value == pytest.approx(kappa)
    for estimate in (found.alpha, found.fleiss, pair.kappa, pair.same, *(each.alpha for each in found.labels)):
        assert estimate.low < estimate.value < estimate.high
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["overlap"] == 60
    assert report(answers, LABELS, llm) == found
    assert report(answers, LABELS, llm, seed=2).alpha.low != found.alpha.low


def test_the_interval_is_that_of_resampled_documents() -> None:
    """Against the bootstrap as it is defined: draw documents, compute the library's alpha."""
    answers = simulated(80, 0.75)
    found = report(answers, LABELS).alpha
    counts = np.array(
        [[[a.label for a in answers if a.document == f"d{i}"].count(x) for x in LABELS] for i in range(80)]
    )
    rng = np.random.default_rng(0)
    drawn = [
        krippendorff.alpha(value_counts=counts[rng.integers(0, 80, 80)], level_of_measurement="nominal")
        for _ in range(1000)
    ]
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)


def test_only_votes_that_stand_count() -> None:
    answers = [
        Answer("x", "ann", label="a"),
        Answer("x", "ann", label="b"),  # a correction
        Answer("x", "bob", label="b"),
        Answer("x", "gold", label="c"),
        Answer("x", "cleo", "resolution", "c"),
        Answer("y", "ann", "skip"),
        Answer("y", "bob", label="a"),
        Answer("z", "ann", label="old"),
        Answer("z", "bob", label="a"),
    ]
    found = report(answers, LABELS)
    assert (found.annotators, found.documents, found.overlap, found.foreign) == ({"ann": 1, "bob": 3}, 3, 1, 1)
    assert found.confusions == []
    assert any("votes left out, since the task does not have their labels: 1" in line for line in notes(found))


def words(answers: list[Answer], **more) -> tuple[Agreement, str]:
    found = report(answers, LABELS, **more)
    text = "\n".join(notes(found))
    assert "nan" not in text
    assert "nan" not in json.dumps(asdict(found)).lower()
    return found, text


def test_where_there_is_nothing_to_compare_it_says_why() -> None:
    found, text = words([])
    assert (found.alpha, found.pairs) == (None, [])
    assert text == "no labels of annotators yet, so no agreement to measure"
    found, text = words([Answer("x", "ann", label="a")], llm={"x": "a"})
    assert found.alpha is None
    assert (found.llm[0].same.value, found.llm[0].kappa) == (1.0, None)
    assert "only ann has labeled documents" in text
    assert "all of one label, so no kappa" in text
    assert "it agrees less with people on these than it does over the corpus" in text
    found, text = words([Answer("x", "ann", label="a"), Answer("y", "bob", label="b")])
    assert (found.alpha, found.overlap, found.pairs) == (None, 0, [])
    assert "no document was labeled by two annotators" in text
    found, text = words(answers_of({"ann": {"x": "a", "y": "a"}, "bob": {"x": "a", "y": "a"}}))
    assert (found.alpha, found.fleiss, found.pairs[0].kappa) == (None, None, None)
    assert found.pairs[0].same.value == 1
    assert "all votes are 'a'" in text


@pytest.mark.parametrize(
    ("n", "right", "said"),
    [
        (400, 0.98, r"reliable (0.8 or more)"),
        (2000, 0.9, "for tentative conclusions only"),
        (60, 0.85, "it may be below 0.667, too low to train on; label more documents twice to tell"),
        (300, 0.6, "too low to train on (below 0.667); mend the codebook"),
        (10, 0.99, "with fewer than 30 documents this says little yet"),
    ],
)
def test_words_follow_the_thresholds(n: int, right: float, said: str) -> None:
    _, text = words(simulated(n, right, raters=2))
    assert said in text.splitlines()[0]


def test_the_most_confused_labels_are_named_with_examples() -> None:
    table = {f"d{i}": "a" for i in range(6)} | {f"e{i}": "b" for i in range(6)} | {f"f{i}": "c" for i in range(6)}
    other = table | {"d0": "b", "d1": "b", "d2": "b", "e3": "a", "f0": "a"}
    found, text = words(answers_of({"ann": table, "bob": other}))
    assert [(c.first, c.second, c.documents, c.examples) for c in found.confusions] == [
        ("a", "b", 4, ["d0", "d1", "d2"]),
        ("a", "c", 1, ["f0"]),
    ]
    assert "confused: 'a' and 'b' on 4 documents, such as d0, d1, d2" in text
    assert "agreed on least: 'a'" in text
    assert "a codebook to mend" in text
    shown = notes(found, {"d0": "A long\n text " * 30})
    assert any("d0 (A long text A long" in line and "…" in line and "\n" not in line for line in shown)
