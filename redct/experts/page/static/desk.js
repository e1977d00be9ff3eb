// The desk: shows one document at a time, and sends what is said about it. Texts are only ever set as text.

const IDLE_MS = 120_000; // without any input for so long, nobody is looking
const GIVE_UP_MS = 20_000;
const LONG = 50_000; // characters from which a text is laid out in pieces

const byId = (id) => document.getElementById(id);
const { where, annotator } = document.body.dataset;
const adjudicating = where === "adjudicate";
const labelButtons = [...document.querySelectorAll("button.label")];

let view = null; // what the server said last
let busy = false; // a request is on its way, and keys wait for nothing
let again = null; // what to try once more, since the server did not answer
let unsaved = false; // whether that is an answer

// ---- time: visible, and used not long ago ----

const clock = {
  active: 0,
  mark: 0,
  input: 0,
  visible: !document.hidden,
  tick() {
    const now = performance.now();
    if (this.visible) this.active += Math.max(0, Math.min(now, this.input + IDLE_MS) - this.mark);
    this.mark = now;
    return now;
  },
  touch() {
    this.input = this.tick();
  },
  restart() {
    this.touch();
    this.active = 0;
  },
  seconds() {
    this.tick();
    return this.active / 1000;
  },
};
for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "touchmove"]) {
  addEventListener(kind, () => clock.touch(), { passive: true, capture: true });
}
document.addEventListener("visibilitychange", () => {
  clock.tick();
  clock.visible = !document.hidden;
  if (clock.visible) clock.touch();
});

// ---- asking the server ----

async function request(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(GIVE_UP_MS) });
  const found = await response.json();
  if (response.ok || response.status === 409) return found;
  throw new Error(found.error ?? `the server answered with ${response.status}`);
}

// Keeps what could not be done, says so, and tries again at the next key.
async function attempt(path, body, saying) {
  if (busy) return;
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    const found = await request(path, body);
    again = null;
    unsaved = false;
    show(found, found.notice ? "" : saying);
  } catch (error) {
    again = () => attempt(path, body, saying);
    unsaved = Boolean(body);
    complain(error, saying);
  } finally {
    busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

function complain(error, saying) {
  const network = error instanceof TypeError || error.name === "TimeoutError";
  const why = network ? "The server does not answer." : `${error.message}`;
  const kept = unsaved ? `Not saved yet: ${saying}. It is kept here; ` : "";
  byId("trouble").firstElementChild.textContent = `${why} ${kept}${kept ? "press" : "Press"} any answer key to try again.`;
  byId("trouble").hidden = false;
}

const load = (id, step = 0) => {
  const query = new URLSearchParams({ step });
  if (id !== null) query.set("id", id);
  return attempt(`/${where}/document?${query}`, null, "");
};

function send(kind, more, saying) {
  const answer = { annotator, kind, note: "", ...more };
  return attempt(`/${where}/answer`, answer, saying);
}

function say(kind, more, saying) {
  if (!view?.document) return;
  send(kind, { id: view.document.id, seen: view.document.seen, seconds: clock.seconds(), ...more }, saying);
}

// ---- what can be done ----

const act = {
  label: (label) => say(adjudicating ? "resolution" : "label", { label }, label),
  skip: () => say("skip", {}, "skipped"),
  flag: () => {
    if (!view?.document) return;
    byId("note").value = view.document.answer?.note ?? "";
    byId("flagging").showModal();
    byId("note").focus();
  },
  undo: () => {
    if (view?.last) send(adjudicating ? "reopen" : "undo", view.last, adjudicating ? "reopened" : "undone");
    else notify("There is nothing to undo.");
  },
  back: () => view && load(view.document?.id ?? null, -1),
  forth: () => {
    if (!view) return;
    if (view.document) load(view.document.id, 1);
    else if (view.done < view.total) load(null);
  },
};

// ---- showing ----

function show(found, saying) {
  view = found;
  byId("trouble").hidden = true;
  notify(found.notice ?? "");
  const shown = view.document;
  byId("document").hidden = byId("decision").hidden = !shown;
  byId("end").hidden = Boolean(shown);
  showProgress();
  if (shown) showDocument(shown);
  else showEnd();
  announce(saying, shown);
  const target = byId(shown ? "text" : "end");
  target.focus({ preventScroll: true });
  scrollTo(0, 0);
  clock.restart();
}

function showProgress() {
  const { done, total, pace, left, disputes } = view;
  const parts = [`${number(done)} of ${number(total)} ${adjudicating ? "settled" : "answered"}`];
  if (pace !== null && done < total) {
    parts.push(`${duration(pace)} each`, left < 60 ? "under a minute left" : `about ${duration(left)} left`);
  }
  byId("progress").replaceChildren(...parts.map((part) => element("span", part)));
  byId("bar").max = Math.max(1, total);
  byId("bar").value = done;
  byId("disputes").textContent = number(disputes);
  byId("disputes").hidden = !disputes;
}

function showDocument(shown) {
  byId("question").textContent = shown.question;
  byId("context").replaceChildren(
    ...shown.context.flatMap(([name, value]) => [isolated("dt", name), isolated("dd", value)]),
  );
  showText(byId("text"), shown.text);
  showMarks(shown.text);
  for (const button of labelButtons) {
    button.setAttribute("aria-pressed", String(shown.answer?.label === button.dataset.label));
  }
  byId("stands").replaceChildren(...(shown.answer ? described(shown.answer, adjudicating ? "Settled" : "You answered") : []));
  byId("stands").hidden = !shown.answer;
  byId("suggestion").hidden = !shown.suggestion;
  if (shown.suggestion) {
    const share = Math.round(100 * shown.suggestion.probability);
    byId("suggestion").replaceChildren(
      "The LLM says ",
      isolated("strong", shown.suggestion.label),
      ` (${share} %). Decide first: a suggestion draws answers towards itself.`,
    );
  }
  if (adjudicating) byId("answers").replaceChildren(...shown.answers.map(showAnswer));
}

// Pieces that are not in sight cost nothing; where one ends, the text breaks a line anyway or is cut between words.
function showText(box, text) {
  const pieces = text.length < LONG ? [text] : text.match(/[^]{0,4000}\n|[^]{1,4000}\s|[^]{1,4000}/gu);
  box.replaceChildren(...pieces.map((piece) => element("p", piece)));
  box.scrollTop = 0;
}

function showMarks(text) {
  const found = [...new Set(text.match(/[\u202a-\u202e\u2066-\u2069]/g))].sort();
  const names = found.map((mark) => `U+${mark.codePointAt(0).toString(16).toUpperCase()}`);
  byId("marks").textContent = `Holds invisible marks that change the direction of writing: ${names.join(", ")}`;
  byId("marks").hidden = !found.length;
}

function showAnswer(answer) {
  const item = element("li");
  item.append(isolated("span", answer.annotator, "name"), ...described(answer));
  return item;
}

// "You answered: for", with the note where there is one.
function described(answer, before) {
  const words = { skip: "skipped", flag: "flagged" };
  const said = answer.label === null ? element("em", words[answer.kind]) : isolated("strong", answer.label);
  const parts = before ? [`${before}: `, said] : [said];
  return answer.note ? [...parts, isolated("q", answer.note, "note")] : parts;
}

function showEnd() {
  const open = view.total - view.done;
  const [title, text] = byId("end").children;
  const [things, done] = adjudicating ? ["disagreements", "settled"] : ["documents", "answered"];
  if (open) {
    title.textContent = "The end of the list";
    text.textContent = `${number(open)} of your ${number(view.total)} ${things} are still open.`;
  } else if (view.total) {
    title.textContent = "All done";
    text.textContent = `All ${number(view.total)} ${things} are ${done}. Thank you!`;
    if (!adjudicating && view.disputes) text.textContent += ` ${number(view.disputes)} wait to be settled: annotators disagree, somebody flagged them, or they deserve a second look.`;
  } else {
    title.textContent = "Nothing to do";
    text.textContent = adjudicating
      ? "Nobody disagrees, and nothing is flagged."
      : "Colleagues have answered all documents that were dealt to you.";
  }
  byId("open").hidden = !open;
  byId("settle").hidden = adjudicating || Boolean(open) || !view.disputes;
  byId("review").hidden = !view.total;
}

function announce(saying, shown) {
  const { done, total } = view;
  const parts = [saying && `Saved: ${saying}.`, `${done} of ${total}.`];
  if (shown) {
    parts.push(...shown.context.map(([name, value]) => `${name}: ${value}.`), shown.text.slice(0, 1000));
    if (shown.answer) parts.push(byId("stands").textContent);
  } else parts.push(...[...byId("end").children].slice(0, 2).map((child) => child.textContent));
  byId("announce").textContent = parts.filter(Boolean).join(" ");
}

function notify(what) {
  byId("notice").textContent = what;
  byId("notice").hidden = !what;
}

function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

// Text of others' writing may run in either direction, but takes nothing around it along.
function isolated(tag, text, name = "") {
  const made = element(tag, text, name);
  made.dir = "auto";
  return made;
}

const number = (n) => n.toLocaleString("en");

function duration(seconds) {
  if (seconds < 9.5) return `${Math.max(0.1, seconds).toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// ---- keys and clicks ----

const keys = new Map([
  ["s", adjudicating ? null : act.skip],
  ["f", adjudicating ? null : act.flag],
  ["u", act.undo],
  ["ArrowLeft", act.back],
  ["ArrowRight", act.forth],
  ...labelButtons.filter((b) => b.dataset.key).map((b) => [b.dataset.key, () => act.label(b.dataset.label)]),
]);

// The key as it is printed; on a keyboard whose keys print no Latin letters or digits there, by its place.
function meaning(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (keys.get(key) || /^[a-z]$/.test(key)) return keys.get(key);
  return keys.get(/^(?:Key|Digit)(.)$/.exec(event.code)?.[1].toLowerCase());
}

function typing(target) {
  return target.closest("dialog, textarea, select, input:not([type=checkbox])") !== null;
}

const perform = (action, ...given) => {
  if (!busy) (again ?? (() => action(...given)))();
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) return;
  const action = byId("shortcuts").checked ? meaning(event) : null;
  if (!action) return;
  event.preventDefault();
  if (!event.repeat) perform(action); // a key that is held down answers once
});

for (const button of labelButtons) button.addEventListener("click", () => perform(act.label, button.dataset.label));
for (const name of ["skip", "flag", "undo", "back", "forth"]) byId(name)?.addEventListener("click", () => perform(act[name]));
byId("again").addEventListener("click", () => perform(() => load(null)));
byId("open").addEventListener("click", () => perform(load, null));
byId("review").addEventListener("click", () => perform(act.back));
byId("leave").addEventListener("click", async () => {
  try {
    await request("/leave", {});
    location.assign("/");
  } catch (error) {
    complain(error, "");
  }
});

if (!adjudicating) {
  const dialog = byId("flagging");
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "flag") say("flag", { note: byId("note").value.trim() }, "flagged");
    dialog.returnValue = "";
  });
  byId("cancel").addEventListener("click", () => dialog.close());
  byId("note").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("flag-it").click();
  });
}

addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});

// Some assistive devices and dictation type single letters, so that keys can be switched off, and stay so.
byId("shortcuts").checked = localStorage.getItem("shortcuts") !== "off";
byId("shortcuts").addEventListener("change", (event) => localStorage.setItem("shortcuts", event.target.checked ? "on" : "off"));

if (matchMedia("(max-width: 50rem)").matches) byId("codebook").open = false;
load(null);
