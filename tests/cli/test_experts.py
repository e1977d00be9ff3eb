"""From a choice through people's answers into training, by the commands."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from cli.commands import refused, run
from cli.conftest import LABELS, write_corpus

from redct.cli.studyfile import read_study
from redct.experts import Answer, Ledger

RUN = Path("runs/study")
LEDGER = RUN / "experts.sqlite"
BY_PEOPLE = ("--data.experts.answers", "ledger")


def gold(document: str) -> str:
    return LABELS[int(document.removeprefix("d")) % 3]


def rounds() -> list:
    with Ledger(LEDGER) as ledger:
        return ledger.rounds()


def answer(*answers: Answer) -> None:
    with Ledger(LEDGER) as ledger:
        ledger.record_all(answers)


def targets() -> pd.DataFrame:
    return pq.read_table(RUN / "targets.parquet").to_pandas().set_index("id")


@pytest.fixture
def labeled(study, capfd) -> Path:
    assert run("predict") == 0
    capfd.readouterr()
    return study


def test_rounds_ask_nobody_twice_and_the_same_round_is_made_once(labeled, capfd) -> None:
    for number, budget in ((None, 20), (None, 20), (2, 0.3), (2, 0.3), (3, 43)):
        more = () if number is None else ("--round", str(number))
        assert run("sample", "--data.experts.budget", str(budget), *more) == 0
    first, second, third = rounds()
    assert [len(each.ids) for each in (first, second, third)] == [20, 27, 43]
    assert {*first.ids, *second.ids, *third.ids} == {f"d{i}" for i in range(90)}
    assert {each.asked for each in (first, second, third)} == {"experts"}
    out = capfd.readouterr().out
    assert "redct annotate --config study.yaml" in out

    said = refused(capfd, "sample", "--data.experts.budget", "21")
    assert "round 1 was chosen with budget 20" in said
    assert "--round 4" in said
    assert "expected 1 to 4" in refused(capfd, "sample", "--round", "5")
    assert "all 90 documents of the corpus were chosen before" in refused(capfd, "sample", "--round", "4")
    assert len(rounds()) == 3


def test_what_people_answer_overrides_the_llm(labeled, capfd) -> None:
    assert run("sample", "--data.experts.budget", "40") == 0
    (chosen,) = rounds()
    single, disputed, skipped, flagged, tied, resolved, undone = chosen.ids[:7]
    wrong = {document: LABELS[(LABELS.index(gold(document)) + 1) % 3] for document in chosen.ids}
    answer(
        Answer(single, "anna", label=wrong[single], duration_seconds=4.0),
        *(Answer(disputed, name, label=gold(disputed)) for name in ("anna", "ben")),
        Answer(disputed, "cleo", label=wrong[disputed]),
        Answer(skipped, "anna", "skip"),
        Answer(flagged, "anna", label="for"),
        Answer(flagged, "ben", "flag", note="two posts in one"),
        Answer(tied, "anna", label=gold(tied)),
        Answer(tied, "ben", label=wrong[tied]),
        Answer(resolved, "anna", label=gold(resolved)),
        Answer(resolved, "ben", label=gold(resolved)),
        Answer(resolved, "cleo", "resolution", wrong[resolved]),
        Answer(undone, "anna", label=wrong[undone]),
        Answer(undone, "anna", "undo"),
        *(Answer(document, "anna", label=gold(document)) for document in chosen.ids[7:30]),
    )
    assert run("fit", *BY_PEOPLE, "--data.expert_eps", "0.03") == 0
    out = capfd.readouterr().out
    assert "experts' answers: 27 documents (anna 27, ben 3, cleo 1; 2 by votes; 1 by resolution)" in out
    assert "left out after experts saw them: 1 flagged, 1 skipped" in out
    assert "11 chosen documents have no answer yet" in out
    rows = targets()
    assert (rows[rows.part != "left out"].source == "expert").sum() == 27
    on = np.array([0.97, 0.015, 0.015])
    places = {label: k for k, label in enumerate(LABELS)}
    np.testing.assert_allclose(np.sort(rows.target[single])[::-1], on, atol=1e-6)
    assert rows.label[single] == wrong[single]
    assert (list(rows.annotators[single]), rows.decided[single]) == (["anna"], "answer")
    shares = np.full(3, 0.015)
    shares[places[gold(disputed)]], shares[places[wrong[disputed]]] = (0.97 * 2 + 0.015) / 3, (0.97 + 0.015 * 2) / 3
    np.testing.assert_allclose(rows.target[disputed], shares, atol=1e-6)
    assert (list(rows.annotators[disputed]), rows.decided[disputed]) == (["anna", "ben", "cleo"], "votes")
    assert rows.target[tied].max() == pytest.approx((0.97 + 0.015) / 2)
    assert (rows.label[resolved], rows.decided[resolved]) == (wrong[resolved], "resolution")
    assert rows.source[undone] == "llm"
    assert rows.loc[[skipped, flagged], ["part", "source"]].to_numpy().tolist() == [
        ["left out", "skipped"],
        ["left out", "flagged"],
    ]

    capfd.readouterr()
    assert run("fit", *BY_PEOPLE, "--data.targets", "hard") == 0
    assert "left out after experts saw them: 1 flagged, 1 skipped, 1 tied" in capfd.readouterr().out
    rows = targets()
    assert rows.target[disputed].tolist() == np.eye(3)[places[gold(disputed)]].tolist()
    assert rows.source[tied] == "tied"


def test_answers_of_a_file(labeled, capfd) -> None:
    Path("answers.csv").write_text("id,label,annotator\nd1,against,anna\nd2,for,ben\nd2,for,anna\n")
    file = ("--data.experts.answers", "answers.csv")
    assert run("fit", *file) == 0
    assert "experts' answers: 2 documents (anna 2, ben 1; 1 by votes)" in capfd.readouterr().out
    assert targets().loc[["d1", "d2"], "label"].tolist() == ["against", "for"]
    Path("answers.csv").write_text("id,label,annotator\nd1,against,anna\nd999,for,ben\nd2,fro,ben\n")
    said = refused(capfd, "fit", *file)
    assert "answers.csv" in said
    assert "d999" in said


def test_without_answers_nothing_is_trained(labeled, capfd) -> None:
    for command in ("fit", "annotate", "agreement"):
        said = refused(capfd, command, *BY_PEOPLE)
        assert "experts.sqlite: no such ledger; choose documents for experts with `redct sample`" in said
    assert not LEDGER.exists()
    assert run("sample") == 0
    said = refused(capfd, "fit", *BY_PEOPLE)
    assert "nobody has answered yet; answer the chosen documents with `redct annotate`" in said


def test_an_answer_of_another_codebook_is_refused(labeled, capfd) -> None:
    assert run("sample") == 0
    answer(Answer(rounds()[0].ids[0], "anna", label="undecided"))
    for command in ("fit", "sample"):
        more = ("--round", "2") if command == "sample" else ()
        said = refused(capfd, command, *BY_PEOPLE, *more)
        assert "was labeled 'undecided', expected one of against, for, neutral" in said
    assert len(rounds()) == 1


def test_a_reserve_of_peoples_answers_needs_all_of_them(labeled, capfd) -> None:
    drawn = ("--data.experts", "{budget: 60, strategy: random, answers: ledger}")
    assert run("sample", *drawn) == 0
    ids = rounds()[0].ids
    answer(*(Answer(document, "anna", label=gold(document)) for document in ids[:59]))
    options = (*drawn, "--data.reserve", "0.25", "--trainer.max_epochs", "1")
    assert "1 of the chosen documents have no answer yet" in refused(capfd, "fit", *options)
    answer(Answer(ids[59], "anna", label=gold(ids[59])))
    assert run("fit", *options) == 0
    assert (targets().part == "reserve").sum() == 15


def test_validation_leaves_out_answers_that_say_nothing_about_the_corpus(labeled, capfd) -> None:
    """A deterministic round after a random one: its answers train, and stand for nothing."""
    people = ("--data.experts.answers", "ledger", "--data.experts.budget")
    assert run("sample", *people, "60", "--data.experts.strategy", "random") == 0
    assert run("sample", *people, "20", "--data.experts.strategy", "margin", "--round", "2") == 0
    first, second = rounds()
    answer(*(Answer(document, "anna", label=gold(document)) for document in (*first.ids, *second.ids)))
    assert run("fit", *BY_PEOPLE, "--data.validation", "0.85", "--trainer.max_epochs", "1") == 0
    validation = targets().query("part == 'validation'")
    assert (set(validation.source), len(validation)) == ({"expert"}, 51)
    assert {*validation.index} < {*first.ids}
    assert {*validation.weight} == {1.5}


def test_answers_after_the_fit_change_nothing_that_it_was_judged_by(labeled, capfd) -> None:
    """Else documents that trained the classifier would validate it, and fit its temperature at export."""
    few = (*BY_PEOPLE, "--trainer.max_epochs", "1")
    assert run("sample", "--data.experts.budget", "60") == 0
    ids = rounds()[0].ids
    answer(*(Answer(document, "anna", label=gold(document)) for document in ids[:40]))
    assert run("fit", *few) == 0
    before = targets()
    answer(*(Answer(document, "anna", label=gold(document)) for document in ids[40:]))
    capfd.readouterr()
    assert run("validate", *few) == 0
    assert "val_loss" in capfd.readouterr().out
    pd.testing.assert_frame_equal(targets(), before)
    corpus, _ = read_study(["validate", "--config", "study.yaml", *BY_PEOPLE], "")
    parts = corpus.written_parts()
    for name in ("train", "validation"):
        rows, part = before[before.part == name], parts[name]
        assert [document.id for document in part.documents] == list(rows.index)
        np.testing.assert_array_equal(part.target, np.stack(rows.target).astype(np.float32))
        assert [LABELS[k] for k in part.label] == list(rows.label)
        assert part.source == list(rows.source)
        np.testing.assert_array_equal(part.weight, rows.weight.astype(np.float32))
    assert corpus.provenance.strategies == ["margin_randomised"]
    said = refused(capfd, "fit", *few, "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert "the checkpoint was trained with other targets" in said
    assert "found other targets than" in refused(capfd, "export", *few)


def test_the_next_step(labeled, capfd) -> None:
    def next_step() -> str:
        capfd.readouterr()
        assert run("status", *BY_PEOPLE) == 0
        return capfd.readouterr().out.splitlines()[-1]

    shared = "--config study.yaml --data.experts.answers ledger"
    assert next_step() == f"next: redct sample {shared}"
    assert run("sample", *BY_PEOPLE) == 0
    assert next_step() == f"next: redct annotate {shared}"
    answer(*(Answer(document, "anna", label=gold(document)) for document in rounds()[0].ids))
    assert next_step() == f"next: redct fit {shared}"
    assert run("fit", *BY_PEOPLE, "--trainer.max_epochs", "1") == 0
    assert next_step() == f"next: redct test {shared}"
    assert run("test", *BY_PEOPLE) == 0
    assert next_step() == f"next: redct export {shared}"
    assert run("fit", *BY_PEOPLE, "--trainer.max_epochs", "1", "--model.learning_rate", "1e-4") == 0
    assert next_step() == f"next: redct test {shared}"


def test_agreement_of_annotators(labeled, capfd) -> None:
    assert run("sample", "--data.experts.budget", "40") == 0
    ids = rounds()[0].ids
    answer(
        *(Answer(document, "anna", label=gold(document)) for document in ids),
        *(Answer(document, "ben", label=gold(document)) for document in ids[:39]),
        Answer(ids[39], "ben", label=LABELS[(LABELS.index(gold(ids[39])) + 1) % 3]),
    )
    capfd.readouterr()
    assert run("agreement") == 0
    out = capfd.readouterr().out
    assert "Krippendorff" in out
    assert json.loads((RUN / "agreement.json").read_text())


def test_what_the_edge_deferred_is_a_source_like_any_other(labeled, capfd) -> None:
    """The first round could not choose what came later, so the second one alone stands for the corpus."""
    drawn = ("--data.experts", "{budget: 20, strategy: random, answers: ledger}")
    assert run("sample", *drawn) == 0
    write_corpus(Path("deferred.jsonl"), 10, start=500)
    both = ("--data.train", "[train.jsonl, deferred.jsonl]")
    labels = ("--labeler.init_args.path", "[train.jsonl, test.jsonl, deferred.jsonl]")
    shutil.rmtree(RUN / "labels")
    assert run("predict", *both, *labels) == 0
    assert run("sample", *drawn, *both, *labels, "--round", "2") == 0
    first, second = rounds()
    assert len({*first.ids, *second.ids}) == 40
    answer(*(Answer(document, "anna", label=gold(document)) for document in (*first.ids, *second.ids)))
    corpus, _ = read_study(["fit", "--config", "study.yaml", *drawn, *both, *labels], "")
    documents = corpus.splits().train.documents
    ids, found = [document.id for document in documents], corpus.asking.so_far(documents)
    assert found.why is None
    weight = {ids[n]: value for n, value in found.weight.items()}
    assert [weight[document] for document in first.ids] == pytest.approx([1.0] * 20)
    assert [weight[document] for document in second.ids] == pytest.approx([80 / 20] * 20)
    assert sum(weight.values()) == pytest.approx(100)


def test_a_file_with_answers_is_not_replaced_silently(labeled, capfd) -> None:
    assert run("sample") == 0
    assert run("exchange", "--to", "queue.csv") == 0
    before = Path("queue.csv").read_text()
    assert "queue.csv: is there already" in refused(capfd, "exchange", "--to", "queue.csv")
    Path("queue.csv").write_text("filled in")
    assert run("exchange", "--to", "queue.csv", "--overwrite") == 0
    assert Path("queue.csv").read_text() == before


def test_a_second_annotator_gets_a_sheet_without_answers(labeled, capfd) -> None:
    assert run("sample", "--data.experts.budget", "30") == 0
    ids = rounds()[0].ids
    answer(*(Answer(document, "anna", label=gold(document)) for document in ids[:20]))
    answer(*(Answer(document, "ben", label="for") for document in ids[:5]), Answer(ids[4], "ben", "undo"))
    answer(Answer(ids[0], "anna", label="neutral"))
    for name, more, count in (("nobody.csv", (), 10), ("ben.csv", ("--annotator", "ben"), 26)):
        assert run("exchange", "--to", name, "--queue", *more) == 0
        sheet = pd.read_csv(name)
        assert (len(sheet), sheet.label.notna().sum(), sheet.annotator.notna().sum()) == (count, 0, 0)
    assert not set(pd.read_csv("ben.csv").id) & set(ids[:4])
    assert run("exchange", "--to", "all.csv") == 0
    sheet = pd.read_csv("all.csv")
    stands = sheet[sheet.stands == "yes"]
    assert len(stands) == 24  # 20 of anna and 4 of ben
    assert stands[(stands.id == ids[0]) & (stands.annotator == "anna")].label.tolist() == ["neutral"]


def test_a_changed_text_does_not_keep_the_answers_of_the_old_one(labeled, capfd) -> None:
    assert run("sample") == 0
    ids = rounds()[0].ids
    answer(*(Answer(document, "anna", label=gold(document)) for document in ids))
    lines = [json.loads(line) for line in Path("train.jsonl").read_text().splitlines()]
    for line in lines:
        line["text"] += " not" if line["id"] == ids[3] else ""
    Path("train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for command, *more in (("fit",), ("agreement",), ("annotate",), ("exchange", "--to", "x.csv"), ("sample",)):
        said = refused(capfd, command, *BY_PEOPLE, *more)
        assert f"1 documents say something else than when they were chosen (the first: '{ids[3]}')" in said
    assert not Path("x.csv").exists()


def test_what_is_meant_is_not_guessed(labeled, capfd) -> None:
    for command in ("fit", "sample", "status"):
        said = refused(capfd, command, "--data.experts.answers", "ledgers")
        assert "ledgers', which is no file; expected gold, ledger or a file" in said
    assert "--round: found 0, expected 1 to 1" in refused(capfd, "sample", "--round", "0")
    capfd.readouterr()
    assert run("sample") == 0
    assert "data.experts.answers is gold; fit uses people's answers where it is ledger" in capfd.readouterr().out
    answer(Answer(rounds()[0].ids[0], "anna", label="undecided"), Answer(rounds()[0].ids[1], "ben", "flag"))
    assert run("status", *BY_PEOPLE) == 0
    out = " ".join(capfd.readouterr().out.replace("│", " ").split())
    assert "1 disputed or flagged" in out
    assert "labeled 'undecided'" in out


def test_suspect_answers_are_looked_at_again(labeled, capfd) -> None:
    options = (*BY_PEOPLE, "--data.experts.strategy", "random", "--data.experts.budget", "60")
    suspects = ("sample", *options, "--from", "suspects")
    assert run(*suspects) == 0
    assert "nobody has answered yet" in capfd.readouterr().out
    assert "--round: found 2 with --from suspects" in refused(capfd, *suspects, "--round", "2")
    assert run("sample", *options) == 0
    (drawn,) = rounds()
    # The LLM is right about these: what anna says instead is wrong.
    wrong = [document for document in drawn.ids if int(document.removeprefix("d")) % 5][:6]
    said = {document: gold(document) for document in drawn.ids}
    said |= {document: LABELS[(LABELS.index(gold(document)) + 1) % 3] for document in wrong}
    answer(*(Answer(document, "anna", label=label) for document, label in said.items()))

    def shares() -> dict:
        assert run("estimate", *options) == 0
        found = json.loads((RUN / "estimates.json").read_text())["estimates"]
        return {row["label"]: row["others"]["experts only"] for row in found}

    before = shares()
    capfd.readouterr()
    assert run(*suspects) == run(*suspects) == 0, "the same once more"
    assert "second look 1: " in capfd.readouterr().out
    with Ledger(LEDGER) as ledger:
        (look,) = ledger.second_looks()
    assert rounds() == [drawn]
    assert set(wrong) <= set(look.ids) <= set(drawn.ids)
    assert shares() == before, "no part of the sample"
    capfd.readouterr()
    assert run("status", *options) == 0
    assert f"{len(look.ids)} to be looked at again" in " ".join(capfd.readouterr().out.replace("│", " ").split())

    capfd.readouterr()
    assert run("exchange", *options, "--queue", "--to", "again.json", "--form", "label_studio") == 0
    assert "label_studio cannot tell what settles them" in capfd.readouterr().out
    assert json.loads(Path("again.json").read_text()) == []
    assert run("exchange", *options, "--queue", "--to", "bens.csv", "--annotator", "ben") == 0
    assert pd.read_csv("bens.csv", dtype=str).kind.isna().all(), "a first vote of ben settles nothing"
    assert run("exchange", *options, "--queue", "--to", "again.xlsx") == 0
    sheet = pd.read_excel("again.xlsx", dtype=str)
    assert (sheet.id.tolist(), set(sheet.kind), sheet.label.notna().sum()) == (look.ids, {"resolution"}, 0)
    assert run("exchange", *options, "--take", "again.xlsx", "--annotator", "ben") == 0
    assert "rows without an answer" in capfd.readouterr().out
    sheet.label = [gold(document) for document in sheet.id]
    sheet.to_excel("again.xlsx", index=False)
    assert run("exchange", *options, "--take", "again.xlsx", "--annotator", "ben") == 0
    assert f"answers recorded: {len(look.ids)}" in capfd.readouterr().out
    after = shares()
    truth = {label: sum(gold(document) == label for document in drawn.ids) / 60 for label in LABELS}
    assert {label: after[label]["value"] for label in LABELS} == pytest.approx(truth)
    assert after != before
    capfd.readouterr()
    assert run(*suspects) == 0
    assert "no answer looks wrong that had no second look yet" in capfd.readouterr().out
    assert run("sample", *options, "--data.experts.budget", "20", "--round", "2") == 0
    assert not set(rounds()[1].ids) & set(drawn.ids)


def test_people_do_not_correct_the_gold_column(labeled, capfd) -> None:
    assert run("fit", "--trainer.max_epochs", "1") == 0
    capfd.readouterr()
    assert run("sample", "--from", "suspects") == 0
    assert "the gold column stands for the experts" in capfd.readouterr().out
