"""A paragraph for the methods section of a paper, from the manifests."""

from collections.abc import Iterator
from typing import Any

from redct.evidence.report.parts import Values, percent, share
from redct.evidence.report.replacing import verdicts


def methods(content: dict[str, Any]) -> str:
    """Returns the paragraph; what a study has not is not said.

    Args:
        content: Of `gather`.
    """
    return " ".join([*_labels(content), *_experts(content), *_classifier(content), *_scores(content), *_edge(content)])


def _labels(content: dict[str, Any]) -> Iterator[str]:
    data, llm = content["data"], content["llm"]
    yield (
        f"We labeled {data['train']['documents']:,} documents with the labels {_listed(content['task']['labels'])} "
        f"by RED-CT (Farr et al. 2024), as redct {content['redct']} implements it."
    )
    if llm is not None:
        named = _listed([_model(store) for store in content["stores"] if store["documents"]])
        failed = f"; {llm['unlabeled']:,} of them got no label" if llm["unlabeled"] else ""
        yield f"Label distributions of all of them were obtained from {named}{failed}."


def _model(store: Values) -> str:
    made = store["fingerprint"]
    name = str(made.get("model") or made.get("labeler"))
    revision = f", revision {made['revision']}" if made.get("revision") else ""
    return f"{name} (prompt {str(made.get('prompt', ''))[:8] or 'of its own'}{revision})"


def _experts(content: dict[str, Any]) -> Iterator[str]:
    experts, done = content["experts"], content["calibration"]
    if experts is None:
        return
    who = {"gold": "the reference labels, standing for experts,", "ledger": f"{len(experts['annotators'])} expert(s)"}
    total = content["data"]["train"]["documents"]
    text = f"Of these, {who.get(experts['source'], 'experts')} labeled {experts['documents']:,} "
    text += f"({share(experts['documents'], total)})"
    if experts["rounds"]:
        rounds = [f"{each['strategy']}, seed {each['seed']}" for each in experts["rounds"]]
        text += f", chosen in {len(rounds)} round(s) ({'; '.join(rounds)})"
    yield text + "."
    if again := experts.get("looked_at_again"):
        yield f"Experts looked again at {again:,} of their answers, chosen because the LLM contradicted them."
    if experts["unrepresentative"]:
        yield f"The answers do not stand for the corpus: {experts['unrepresentative']}."
    if content["agreement"] and content["agreement"]["alpha"]:
        alpha = content["agreement"]["alpha"]
        yield (
            f"Krippendorff's alpha over {content['agreement']['overlap']:,} documents with two or more answers was "
            f"{alpha['value']:.2f} (95 % CI {alpha['low']:.2f} to {alpha['high']:.2f})."
        )
    if done and (done.get("regression") or done.get("temperature")):
        way = "a regression of the answers on the LLM's distributions and the documents"
        way = way if done.get("regression") else f"a temperature of {done['temperature']['value']:.2f}"
        steps = done["reliability"]
        after = steps["regression" if done.get("regression") else "temperature"]
        yield (
            f"The LLM's distributions were corrected by {way}; the expected calibration error on "
            f"{steps['answers']:,} answers went from {steps['llm']['ece']:.3f} to {after['ece']:.3f} (cross-fitted)."
        )


def _classifier(content: dict[str, Any]) -> Iterator[str]:
    targets, training, bundle = content["targets"], content["training"], content["bundle"]
    if targets is None:
        return
    train, validation = targets["parts"].get("train", {}), targets["parts"].get("validation", {})
    encoder = f" ({bundle['training']['encoder']})" if bundle else ""
    sources = _listed([f"{count:,} labeled by {_who(source)}" for source, count in train.items()])
    checked = _listed([f"{count:,} labeled by {_who(source)}" for source, count in validation.items()])
    text = f"A text classifier{encoder} was trained towards {targets['kind']} targets on {sum(train.values()):,} "
    text += f"documents ({sources}) and validated on {sum(validation.values()):,} ({checked})"
    if training is not None:
        text += f", for {1 + max(map(int, training['epochs']))} epochs"
    yield f"{text}, seed {content['seed']}."


def _who(source: str) -> str:
    return {"llm": "the LLM", "expert": "experts", "gold": "reference"}.get(source, source)


def _scores(content: dict[str, Any]) -> Iterator[str]:
    metrics = content["metrics"]
    if metrics is None:
        return
    scores = [f"{percent(each['macro_f1'])} ({name})" for name, each in metrics["scores"].items()]
    sampled = f", sampled by {_listed(list(metrics['sampling']))}" if metrics["sampling"] else ""
    yield (
        f"On {metrics['documents']:,} held-out documents with reference labels{sampled}, macro-F1 was {_listed(scores)}"
        " (95 % bootstrap intervals over documents)."
    )
    for each in metrics["differences"]:
        if each["other"] == "LLM":
            gap = percent(each["metrics"]["macro_f1"], " points")
            test = f"; McNemar's exact test, p = {each['p_value']:.3g}" if each["p_value"] is not None else ""
            yield f"The classifier minus the LLM, paired by document, was {gap}{test}."
    if metrics["substitutions"]:
        yield f"By the alternative annotator test (Calderon et al. 2025), {verdicts(metrics['substitutions'])}."


def _edge(content: dict[str, Any]) -> Iterator[str]:
    bundle = content["bundle"]
    if bundle is None:
        return
    same = f"gives the checkpoint's label on {100 * bundle['parity']['agreement']:.1f} % of documents"
    yield f"It was exported as {bundle['precision']} ONNX, which {same}."
    if limit := bundle["abstention"]:
        yield (
            f"It answers {100 * limit['coverage']:.1f} % of documents; with probability {1 - limit['delta']:.2f} over "
            f"the draw of {limit['documents']:,} reserved documents at most {100 * limit['max_error']:.1f} % of its "
            "answers are wrong (Learn then Test, Angelopoulos et al. 2021)."
        )


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
