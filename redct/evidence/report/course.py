"""The study's course: how many documents at each step, what it took."""

from collections.abc import Iterator
from typing import Any

from redct.evidence.report.charts import Series, flow, lines
from redct.evidence.report.drawing import Alt, around
from redct.evidence.report.parts import Figure, Section, Table, share, tick
from redct.hub.times import duration, time_in_words


def study(content: dict[str, Any]) -> Section:
    """Returns the section about the course of the study."""
    figures = [_flow(content), *_training(content)]
    return Section("study", "The study", figures=figures, tables=[_costs(content)])


def _flow(content: dict[str, Any]) -> Figure:
    steps = list(_steps(content))
    desc = "; ".join(f"{title}: {text}" for title, text in steps)
    svg = flow(Alt("flow", "How documents went through the study", desc), steps)
    experts, total = content["experts"], content["data"]["train"]["documents"]
    if experts is None:
        return Figure(svg, "Nobody corrected the LLM: what it gets wrong, the classifier was taught.")
    part = f"{experts['documents']:,} of {total:,} documents ({share(experts['documents'], total)})"
    return Figure(svg, f"People's work went into {part}; all others have only the LLM's labels.")


def _steps(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    data, llm, experts, targets = (content[name] for name in ("data", "llm", "experts", "targets"))
    held_out = f"; {data['test']['documents']:,} held out for the test" if "test" in data else ""
    yield "Corpus", f"{data['train']['documents']:,} documents{held_out}"
    if llm is not None:
        yield (
            "Labeled by the LLM",
            f"{llm['documents'] - llm['unlabeled']:,} documents; {llm['unlabeled']:,} without label",
        )
    if experts is not None:
        chosen = sum(each["documents"] for each in experts["rounds"]) or experts["documents"]
        how = ", ".join(dict.fromkeys(each["strategy"] for each in experts["rounds"])) or experts["source"]
        yield "Chosen for experts", f"{chosen:,} documents, by {how}"
        out = "".join(f"; {count:,} {why}" for why, count in experts["left_out"].items())
        counted = {"unanswered": experts["unanswered"], "looked at again": experts.get("looked_at_again")}
        out += "".join(f"; {count:,} {what}" for what, count in counted.items() if count)
        yield "Labeled by experts", f"{experts['documents']:,} documents{out}"
    if targets is not None:
        yield (
            "Trained and validated on",
            "; ".join(
                f"{name}: {sum(counts.values()):,} (" + ", ".join(f"{n:,} {who}" for who, n in counts.items()) + ")"
                for name, counts in targets["parts"].items()
            ),
        )
    if (metrics := content["metrics"]) is not None:
        yield "Tested on", f"{metrics['documents']:,} documents with gold labels"
    if (bundle := content["bundle"]) is not None:
        yield "Exported", f"{bundle['precision']}, {bundle['bytes'] / 1e6:.0f} MB"


def _training(content: dict[str, Any]) -> Iterator[Figure]:
    training = content["training"]
    epochs = {} if training is None else training["epochs"]
    valid = {int(n): each for n, each in epochs.items() if "val_loss" in each}
    if not valid:
        return
    kinds = (("on the training documents", "train_loss"), ("on the validation documents", "val_loss"))
    series = [
        Series(name, *zip(*[(n + 1.0, each[key]) for n, each in valid.items() if key in each], strict=True))
        for name, key in kinds
        if any(key in each for each in valid.values())
    ]
    best = min(valid, key=lambda n: float(valid[n]["val_loss"]))
    desc = "; ".join(f"epoch {n + 1}: {each['val_loss']:.3f}" for n, each in valid.items())
    numbers = [y for each in series for y in each.y]
    svg = lines(
        Alt("training", "Loss over the epochs of training", f"Validation loss, {desc}"),
        series,
        around("epoch", [n + 1.0 for n in valid], tick),
        around("loss", numbers, tick),
        mark=(best + 1.0, "least"),
    )
    last = max(valid)
    risen = float(valid[last]["val_loss"]) - float(valid[best]["val_loss"])
    ended = (
        "fell to the end, so more epochs (trainer.max_epochs) may help"
        if best == last
        else f"was least after epoch {best + 1} and {risen:.3f} higher in the end, so training was long enough"
    )
    yield Figure(svg, f"The classifier is that of the last epoch, {last + 1}. The validation loss {ended}.")


def _costs(content: dict[str, Any]) -> Table:
    return Table("What the study took", ["step", "amount", "time or cost"], list(_took(content)), prose=True)


def _took(content: dict[str, Any]) -> Iterator[list[str]]:
    for store in content["stores"]:
        if not store["documents"]:
            continue
        usage, tokens = store["usage"], store["tokens"]
        amount = f"{store['documents']:,} documents"
        if counted := usage or tokens:
            amount += f"; {counted['prompt_tokens']:,} prompt and {counted['completion_tokens']:,} completion tokens"
        cost = time_in_words(store.get("time"), store["documents"])
        if usage and usage["cost_usd"] is not None:
            cost += f"; {usage['cost_usd']:.4f} US dollars at the prices of {usage['prices_of']}"
        elif usage:
            cost += "; no price recorded"
        made = store["fingerprint"]
        yield [f"predict: {made.get('model') or made['labeler']}", amount, cost]
    if (experts := content["experts"]) is not None:
        spent, each, median = (experts.get(name) for name in ("seconds", "seconds_per_document", "seconds_median"))
        took = f"{duration(spent)}, {each:.0f} s a document" if spent and each else "not measured"
        took += f"; median of an answer {median:.0f} s" if median else ""
        yield ["experts", f"{experts['documents']:,} documents", took]
    if (training := content["training"]) is not None:
        seconds = training["seconds"]
        took = f"{duration(seconds)}, by the times of its files" if seconds else "not recorded"
        yield ["fit", f"{1 + max(map(int, training['epochs']))} epochs", took]
    if (bundle := content["bundle"]) is not None:
        yield ["export", f"{bundle['bytes'] / 1e6:.0f} MB, {bundle['precision']}", "needs no torch and no network"]
