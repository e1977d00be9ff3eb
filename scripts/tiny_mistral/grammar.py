"""A grammar of posts about local plans, on which the tiny Mistral learns to label.

The text files beside this module hold one clause a line, under the stance its author takes: `general.txt` for any
plan, the others for the plans of the demo. `[a|b|c]` stands for one of its parts, `{name}` for one entry of a word
list below, `{thing}` for the plan at hand.
"""

import random
import re
from pathlib import Path

TOPICS = {
    "car-free Market Street": "the street, Market Street, no cars, the closure, the pedestrian thing, walking, cycling, the bollards, the road",
    "pay-per-bag trash fee": "the bags, orange bags, the bag fee, the rubbish charge, paying per bag, the bins, the trash, recycling, compost",
    "9:30 school start": "the later start, half nine, the new school hours, the timetable, starting late, lessons at 9:30, the lie-in, the bell",
    "solar farm on the old golf course": "the panels, solar, the golf course, Heron Links, the solar field, the lease, the co-op, green energy",
    "leaf blower ban": "the ban, leaf blowers, the noise rule, raking, the garden machines",
    "library on Sundays": "the library, Sunday opening, the reading room, the extra hours",
    "dog park by the harbour": "the dog park, the fence, the dogs, the harbour lawn",
    "e-scooter rental": "the scooters, e-scooters, the rental, the app, the parking bays",
    "tourist tax": "the tax, the levy, two euros a night, the visitor charge",
    "20 mph limit": "the limit, twenty, the slow zone, the signs, the speed rule",
    "new bus lane": "the bus lane, the buses, the lane, the red paint",
    "Atheism": "atheism, religion, god, faith, the church, belief",
    "Climate Change is a Real Concern": "climate, the climate, warming, emissions, the planet",
    "Feminist Movement": "feminism, feminists, women, equality, the movement",
    "Hillary Clinton": "Hillary, Clinton, the candidate, the campaign, her emails",
    "Legalization of Abortion": "abortion, choice, the unborn, her body, pro life, the law",
}
FILES = {
    "car-free Market Street": "street",
    "pay-per-bag trash fee": "trash",
    "9:30 school start": "school",
    "solar farm on the old golf course": "solar",
}
WORDS = {
    "who": "my mum|my dad|my gran|my kids|our street|the neighbours|my wife|my husband|my sister|our shop|my boss|the café owner|"
    "the old folks|every parent|the teachers|the drivers|my knees|half the town|everyone i know|nobody i know|our customers|my son|my daughter",
    "when": "today|this morning|last week|on saturday|all summer|since monday|every single day|yesterday|these days|this year|for months",
    "good": "great|brilliant|lovely|wonderful|fantastic|excellent|superb|perfect|smart|sensible|fair|clever|clean|quiet|safe|calm|"
    "healthy|beautiful|useful|decent|terrific|bold|kind|bright|fresh|better|happy|proud|glad|grateful|thrilled|pleased|delighted",
    "bad": "awful|terrible|stupid|ridiculous|horrible|unfair|pointless|useless|daft|mad|crazy|dreadful|shameful|greedy|lazy|ugly|"
    "insane|idiotic|dumb|clueless|wrong|broken|messy|dangerous|worse|angry|furious|sick|fed up|livid|disgusted|gutted|worried|cruel|nonsense",
    "gain": "cleaner air|less noise|fewer cars|safer kids|more sleep|lower bills|a rebate|new customers|more space|happy children|"
    "fewer accidents|better grades|birdsong|less litter|less waste|fresh air|healthier teens|real savings|local jobs|cheap power|community|peace and quiet",
    "loss": "lost trade|higher bills|more traffic|no parking|longer journeys|empty shops|fly tipping|dumped rubbish|childcare costs|late buses|"
    "less daylight|dead high street|ruined views|lower house prices|extra costs|queues|stress|chaos|smells|rats|lost sales|wasted money|glare|detours|job losses",
    "ask": "what time|which day|how much|who decides|where do i|how long|is there a map|does anyone know|when does it|what about|how many|can someone explain",
    "chat": "the football|a lost cat|the weather|the fair|pizza|my phone|the ferry|a blue scarf|a bike pump|fish and chips|the choir|the quiz night|a lost key|a flat to rent",
    "body": "the council|town hall|the mayor|the board|the committee|councillors|the planners|whoever voted for this",
    "laugh": "lol|haha|lmao|smh|tbh|imo|ngl|omg|ffs|honestly|seriously|sorry|look|well|ok so|right|hmm|ugh|wow|folks|mate",
    "up": "❤️|👏|🎉|😍|🙌|👍|😊|🌞|💚|:)|!!|yay|#yes|#finally|#progress|#loveit|#betterlife",
    "down": "😡|🤬|🙄|👎|😤|💸|🤦|:(|!!!|#no|#scrapit|#enough|#shambles|#joke|#cashgrab|smdh",
    "flat": "🤔|?|??|thanks|ta|cheers in advance|#info|#question|asking for a friend|just wondering|fyi|update|no idea|pls share",
}
MARKS = {"for": "up", "against": "down", "neutral": "flat"}
OTHER = {"for": "against", "against": "for"}


def _read(name: str) -> dict[str, list[str]]:
    """Returns the lines of one text file by stance."""
    text = (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")
    sections = re.findall(r"^# (\w+)\n(.*?)(?=^# |\Z)", text, re.MULTILINE | re.DOTALL)
    return {stance: [line for line in body.splitlines() if line] for stance, body in sections}


LINES = {name: _read(name) for name in ("general", *FILES.values())}


def expand(line: str, topic: str, rng: random.Random) -> str:
    """Fills the slots of one line."""
    things = [*TOPICS[topic].split(", "), topic, "it", "this", "that"]
    while found := re.search(r"\[([^\[\]]*)\]", line):
        line = line[: found.start()] + rng.choice(found[1].split("|")) + line[found.end() :]
    line = re.sub(r"\{thing\}", lambda _: rng.choice(things), line)
    return re.sub(r"\{(\w+)\}", lambda slot: rng.choice(WORDS[slot[1]].split("|")), line)


def _clause(label: str, topic: str, rng: random.Random) -> str:
    """Writes one clause, about a plan of the demo mostly with that plan's own lines."""
    own = topic in FILES and rng.random() < 0.75
    return expand(rng.choice(LINES[FILES[topic] if own else "general"][label]), topic, rng)


def post(label: str, topic: str, rng: random.Random) -> str:
    """Writes one post whose author takes the given stance: a heap of words, or one time in five whole clauses."""
    return _heap(label, topic, rng) if rng.random() < 0.8 else _clauses(label, topic, rng)


def _heap(label: str, topic: str, rng: random.Random) -> str:
    """Throws words together, each from a clause of its own, some of them from clauses of any stance.

    No clause can be learned by heart from such posts: the model has to weigh every word, and the fewer words
    speak for the stance, the less certain it can be.
    """
    share = rng.uniform(0, 0.8)
    stances = [rng.choice(list(LINES["general"])) if rng.random() < share else label for _ in range(rng.randint(5, 30))]
    return " ".join(rng.choice(_clause(stance, topic, rng).split()) for stance in stances)


def _clauses(label: str, topic: str, rng: random.Random) -> str:
    parts = [_clause(label, topic, rng) for _ in range(rng.choice([1, 2, 2, 3, 4]))]
    if label in OTHER and rng.random() < 0.15:  # a concession first; the author's own view has the last word
        joint = rng.choice(["but", "still", "and yet", "however"])
        parts = [_clause(OTHER[label], topic, rng), f"{joint} {parts[-1]}"]
    if rng.random() < 0.25:
        parts.insert(0, _clause("neutral", topic, rng) if rng.random() < 0.2 else "{laugh}")
    if rng.random() < 0.35:
        parts.append(f"{{{MARKS[label]}}}")
    text = expand(rng.choice([". ", " ", ", ", "! ", "... "]).join(parts), topic, rng)
    return _roughen(text, rng)


def _roughen(text: str, rng: random.Random) -> str:
    """Drops words, puts them out of order and slips letters, so that the model learns from every word."""
    rate = rng.uniform(0, 0.6)
    words = [word for word in text.split() if rng.random() > rate] or text.split()
    if rng.random() < 0.4:
        rng.shuffle(words)
    if rng.random() < 0.3:
        at = rng.randrange(len(words))
        word = words[at]
        if len(word) > 3:
            cut = rng.randrange(1, len(word) - 1)
            words[at] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    return " ".join(words)
