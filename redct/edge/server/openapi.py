"""The description of what is answered, as OpenAPI, with the bundle's own labels, context fields and limits."""

from typing import Any

from redct import __version__
from redct.edge.runtime import Bundle
from redct.edge.server.options import Options

OPENAPI = "3.1.0"

REFUSALS = {
    "401": "The token is missing or wrong.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "422": "The request is not as described, or holds too much; the error says what was expected.",
    "500": "The classifier failed.",
    "503": "Too much is waiting, or being sent. Retry-After says in how many seconds to try again.",
}


def describe(bundle: Bundle, options: Options) -> dict[str, Any]:
    """Returns the OpenAPI description of a server."""
    secured: dict[str, Any] = {"security": [{"token": []}]} if options.token_env else {}
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "redct: an edge classifier",
            "version": __version__,
            "description": f"Labels documents as one of: {', '.join(bundle.labels)}.",
        },
        "paths": {
            "/classify": {"post": _classify(bundle, bool(secured)) | secured},
            "/health": {
                "get": {
                    "summary": "Whether the server runs, and which bundle it serves; 503 once it is about to stop.",
                    "responses": {"200": _json("It runs.", "Health"), "503": _json("It stops.", "Health")},
                }
            },
            "/metrics": {"get": {"summary": "Counters for Prometheus.", "responses": _text(bool(secured))} | secured},
        },
        "components": {"schemas": _schemas(bundle, options)}
        | ({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if secured else {}),
    }


def _classify(bundle: Bundle, secured: bool) -> dict[str, Any]:
    example = {"text": "...", **_example_context(bundle)}
    many = {"documents": [{"id": 1, **example}, {"id": 2, **example}]}
    return {
        "summary": "Labels one document or many.",
        "description": "Each of `documents` is judged for itself: one that cannot be read has an `error` in its "
        "answer. The answers stand in the order of the documents, and an answer never depends on the other documents.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [_ref("Document"), _ref("Documents")]},
                    "examples": {"one": {"value": example}, "many": {"value": many}},
                }
            },
        },
        "responses": {
            "200": {
                "description": "The answer: in the form of the request, one or many.",
                "content": {"application/json": {"schema": {"oneOf": [_ref("Answer"), _ref("Answers")]}}},
            },
            **{status: _json(text, "Error") for status, text in REFUSALS.items() if secured or status != "401"},
        },
    }


def _example_context(bundle: Bundle) -> dict[str, Any]:
    fields = dict.fromkeys(bundle.context_fields, "...")
    return {"context": fields} if fields else {}


def _text(secured: bool) -> dict[str, Any]:
    found = {"200": {"description": "Prometheus' text format.", "content": {"text/plain": {}}}}
    return found | ({"401": _json(REFUSALS["401"], "Error")} if secured else {})


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON schemas
    return {"type": "object", "properties": properties, "required": required}


def _schemas(bundle: Bundle, options: Options) -> dict[str, Any]:
    text = {"type": "string", "maxLength": options.max_characters}
    name = {"type": ["string", "integer"], "description": "Handed back as it came."}
    fields = bundle.context_fields
    context = _object(fields, **dict.fromkeys(fields, text)) | {"description": "Further fields are not looked at."}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    probabilities = _object(bundle.labels, **dict.fromkeys(bundle.labels, share))
    answer = _object(
        ["label", "probabilities", "abstained", "error"],
        id=name,
        label={"enum": [*bundle.labels, None], "description": "null where there is an error, or abstained is true."},
        probabilities=probabilities | {"type": ["object", "null"], "description": "null where there is an error."},
        abstained={"type": "boolean", "description": "Too uncertain: somebody else should decide."},
        error={"type": ["string", "null"], "description": "Why there is no answer, one of a few constant texts."},
    )
    document = _object(["text", *(["context"] if fields else [])], text=text, context=context, id=name)
    many = {"type": "array", "items": _ref("Document"), "maxItems": options.max_documents}
    return {
        "Document": document | {"additionalProperties": False},
        "Documents": _object(["documents"], documents=many) | {"additionalProperties": False},
        "Answer": answer,
        "Answers": _object(["documents"], documents={"type": "array", "items": _ref("Answer")}),
        "Error": _object(["error"], error={"type": "string"}),
        "Health": _object(
            ["status", "redct", "bundle", "labels", "context_fields", "waiting"],
            status={"enum": ["ok", "stopping"]},
            redct={"type": "string"},
            bundle={"type": "string", "description": "SHA-256 that the bundle states of itself."},
            labels={"type": "array", "items": {"type": "string"}},
            context_fields={"type": "array", "items": {"type": "string"}},
            waiting={"type": "integer", "description": "Documents in the queue."},
        ),
    }
