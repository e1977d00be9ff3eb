"""OpenAI's Batch API, with progress that is told: files, batches, their statuses and result files."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from servers.chat import ApiError, Chat

Fate = Literal["answered", "expired", "missing", "failed"]
ENDPOINT = "/v1/chat/completions"
FINAL = {"completed", "failed", "expired", "cancelled"}


@dataclass
class Batches:
    """Keeps files and batches; each look at a batch moves it one status on.

    Args:
        chat: Answers the requests.
        polls: Looks at a batch, after its creation, until it is final: 1 or more.
        fate: From a request's `custom_id` to what becomes of it: `expired` (error file, `batch_expired`; the
            batch ends as `expired`), `failed` (error file, status 500) or `missing` from both files.
        refusal: An error by which every batch fails validation, as
            `{"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None, "param": None}`.
        most: Requests that a file may hold.
    """

    chat: Chat
    polls: int = 3
    fate: Callable[[str], Fate] = lambda custom_id: "answered"
    refusal: dict[str, Any] | None = None
    most: int = 50_000
    files: dict[str, tuple[dict[str, Any], bytes]] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)

    def upload(self, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        """Keeps a file and returns its `file` object."""
        key = f"file-{len(self.files) + 1}"
        about = {"id": key, "object": "file", "bytes": len(content), "created_at": int(time.time())}
        about |= {"filename": name, "purpose": purpose, "status": "processed"}
        self.files[key] = about, content
        return about

    def file(self, key: str) -> tuple[dict[str, Any], bytes]:
        """Returns a file's object and content."""
        if key not in self.files:
            raise ApiError(404, f"No such File object: {key}", param="id")
        return self.files[key]

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Returns a new batch, which is being validated."""
        about, _ = self.file(str(body.get("input_file_id")))
        if about["purpose"] != "batch":
            raise ApiError(400, "Invalid file purpose: expected 'batch'.", param="input_file_id")
        if body.get("endpoint") != ENDPOINT or body.get("completion_window") != "24h":
            raise ApiError(400, f"Expected endpoint {ENDPOINT} and completion_window 24h.", "invalid_value")
        now = int(time.time())
        fields = ["output_file_id", "error_file_id", "errors", "in_progress_at", "finalizing_at", "completed_at"]
        fields += ["failed_at", "expired_at", "cancelling_at", "cancelled_at"]
        batch = dict.fromkeys(fields) | {"id": f"batch_{len(self.batches) + 1}", "object": "batch"}
        batch |= {"status": "validating", "created_at": now, "expires_at": now + 86_400}
        batch |= {name: body[name] for name in ("endpoint", "completion_window", "input_file_id")}
        batch |= {"metadata": body.get("metadata"), "request_counts": {"total": 0, "completed": 0, "failed": 0}}
        self.batches[batch["id"]] = batch | {"looks": 0}
        return self._shown(batch["id"])

    def retrieve(self, key: str) -> dict[str, Any]:
        """Returns a batch, one status further."""
        batch = self._batch(key)
        if batch["status"] not in FINAL:
            self._advance(batch)
        return self._shown(key)

    def cancel(self, key: str) -> dict[str, Any]:
        """Returns a batch that is being cancelled; what is done by then can be had at the next look."""
        batch = self._batch(key)
        if batch["status"] in FINAL:
            text = f"Cannot cancel a batch with status '{batch['status']}'."
            raise ApiError(409, text)
        self._enter(batch, "cancelling")
        return self._shown(key)

    def page(self, after: str | None, limit: int) -> dict[str, Any]:
        """Returns a page of the batches, the newest first."""
        keys = [*reversed(self.batches)]
        keys = keys[keys.index(after) + 1 :] if after else keys
        data = [self._shown(key) for key in keys[:limit]]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, "has_more": len(keys) > limit, **ends}

    def _batch(self, key: str) -> dict[str, Any]:
        if key not in self.batches:
            raise ApiError(404, f"No batch found with id '{key}'.", param="id")
        return self.batches[key]

    def _shown(self, key: str) -> dict[str, Any]:
        return {name: value for name, value in self.batches[key].items() if name != "looks"}

    def _enter(self, batch: dict[str, Any], status: str) -> None:
        batch["status"] = status
        batch[f"{status}_at"] = int(time.time())

    def _advance(self, batch: dict[str, Any]) -> None:
        batch["looks"] += 1
        left = self.polls - batch["looks"]
        if batch["status"] == "cancelling":
            self._finish(batch, "cancelled", done=batch["looks"] - 1)
        elif batch["status"] == "validating" and (errors := self._invalid(batch)):
            batch["errors"] = {"object": "list", "data": errors}
            self._enter(batch, "failed")
        elif left <= 0:
            self._finish(batch, "completed", done=self.polls)
        else:
            self._enter(batch, "finalizing" if left == 1 and self.polls > 2 else "in_progress")
            batch["request_counts"]["total"] = len(self._lines(batch))

    def _lines(self, batch: dict[str, Any]) -> list[bytes]:
        return self.file(batch["input_file_id"])[1].splitlines()

    def _invalid(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        if self.refusal:
            return [self.refusal]
        lines = self._lines(batch)
        if not lines:
            return [_problem("empty_file", "The batch input file is empty.")]
        if len(lines) > self.most:
            return [_problem("too_many_tasks", f"The batch input file holds more than {self.most} requests.")]
        seen: dict[str, str] = {}
        problems = [_line_problem(number, line, seen) for number, line in enumerate(lines, 1)]
        return [problem for problem in problems if problem]

    def _finish(self, batch: dict[str, Any], status: str, done: int) -> None:
        """Writes the result files; of a cancelled batch, `done` of every `polls` requests are answered."""
        requests = [json.loads(line) for line in self._lines(batch)]
        answered = requests[: len(requests) * done // self.polls]
        fates = {request["custom_id"]: self.fate(request["custom_id"]) for request in answered}
        results = [self._result(request, fates[request["custom_id"]]) for request in answered]
        results = [result for result in results if result]
        Random(batch["id"]).shuffle(results)
        good = [result for result in results if result["response"] and result["response"]["status_code"] == 200]
        bad = [result for result in results if result not in good]
        batch["output_file_id"] = self._written(batch, "output", good)
        batch["error_file_id"] = self._written(batch, "error", bad)
        batch["request_counts"] = {"total": len(requests), "completed": len(good), "failed": len(bad)}
        self._enter(batch, "expired" if "expired" in fates.values() and status == "completed" else status)

    def _result(self, request: dict[str, Any], fate: Fate) -> dict[str, Any] | None:
        line = {"id": f"batch_req_{request['custom_id']}", "custom_id": request["custom_id"]}
        if fate == "missing":
            return None
        if fate == "expired":
            text = "This request could not be executed before the completion window expired."
            return line | {"response": None, "error": {"code": "batch_expired", "message": text}}
        try:
            if fate == "failed":
                raise ApiError(500, "The server had an error while processing your request.", kind="server_error")
            code, body = 200, self.chat.reply(request["body"])
        except ApiError as error:
            code, body = error.status, error.body
        return line | {"response": {"status_code": code, "request_id": line["id"], "body": body}, "error": None}

    def _written(self, batch: dict[str, Any], kind: str, results: list[dict[str, Any]]) -> str | None:
        if not results:
            return None
        content = "".join(json.dumps(result, ensure_ascii=False) + "\n" for result in results).encode()
        return str(self.upload(f"{batch['id']}_{kind}.jsonl", "batch_output", content)["id"])


def _problem(code: str, message: str, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": param}


def _line_problem(number: int, line: bytes, seen: dict[str, str]) -> dict[str, Any] | None:
    """Finds what is wrong with a request; `seen` gathers ids, and the file's one model."""
    try:
        request = json.loads(line)
    except ValueError:
        return _problem("invalid_json_line", "This line is not parseable as valid JSON.", number)
    for name in ("custom_id", "method", "url", "body"):
        if name not in request:
            return _problem("missing_required_parameter", f"Missing required parameter: '{name}'.", number, name)
    custom_id, model = request["custom_id"], request["body"].get("model", "")
    if custom_id in seen:
        return _problem("duplicate_custom_id", f"The custom_id '{custom_id}' is used twice.", number, "custom_id")
    if request["url"] != ENDPOINT or request["method"] != "POST":
        return _problem("url_mismatch", f"The request is not a POST to the batch's endpoint {ENDPOINT}.", number, "url")
    if model != next(iter(seen.values()), model):
        return _problem("model_mismatch", "All requests in a batch must name the same model.", number, "body.model")
    seen[custom_id] = model
    return None
