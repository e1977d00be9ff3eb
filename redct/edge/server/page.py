"""The page at /docs: OpenAPI's description as one self-contained page, since the edge may have no network."""

import base64
import hashlib
import json
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
pre, textarea { background: color-mix(in srgb, currentColor 6%, Canvas); color: inherit; padding: .6rem;
  overflow: auto; width: 100%; box-sizing: border-box; font: 14px/1.4 monospace; border: 1px solid GrayText; }
th, td { text-align: left; padding-right: 1rem; vertical-align: top; }
"""

SCRIPT = """
document.getElementById("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const shown = document.getElementById("answer"), token = document.getElementById("token");
  const headers = {"Content-Type": "application/json"};
  if (token && token.value) headers.Authorization = "Bearer " + token.value;
  try {
    const reply = await fetch("classify", {method: "POST", headers, body: document.getElementById("body").value});
    shown.textContent = reply.status + " " + JSON.stringify(await reply.json(), null, 2);
  } catch (error) {
    shown.textContent = String(error);
  }
});
"""


def _source(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


POLICY = "; ".join(
    [
        "default-src 'none'",
        f"script-src {_source(SCRIPT)}",
        f"style-src {_source(STYLE)}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


def show_page(openapi: dict[str, Any]) -> str:
    """Returns the page for an OpenAPI description."""
    info = openapi["info"]
    paths = [_operation(path, *each) for path, item in openapi["paths"].items() for each in item.items()]
    schemas = [_schema(*each) for each in openapi["components"]["schemas"].items()]
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>',
            f"<style>{STYLE}</style>",
            f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])} redct {escape(info['version'])}. ",
            'For programs: <a href="openapi.json">openapi.json</a>.</p>',
            _form(openapi),
            *paths,
            "<h2>Schemas</h2>",
            *schemas,
            f"<script>{SCRIPT}</script></html>",
        ]
    )


def _form(openapi: dict[str, Any]) -> str:
    body = openapi["paths"]["/classify"]["post"]["requestBody"]["content"]["application/json"]
    example = escape(json.dumps(body["examples"]["one"]["value"], indent=2, ensure_ascii=False))
    secured = "securitySchemes" in openapi["components"]
    token = '<p><label>Token <input id="token" type="password" autocomplete="off"></label></p>' if secured else ""
    return (
        f'<h2>Try it</h2><form id="ask"><textarea id="body" rows="8">{example}</textarea>{token}'
        '<p><button>POST /classify</button></p></form><pre id="answer"></pre>'
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    examples = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
    shown = [f"<p>For example, {escape(name)}:</p>{_pre(each['value'])}" for name, each in examples.items()]
    rows = [
        f"<tr><td>{escape(status)}</td><td>{escape(response['description'])}</td></tr>"
        for status, response in operation["responses"].items()
    ]
    return "\n".join(
        [
            f"<h2>{escape(method.upper())} {escape(path)}</h2><p>{escape(operation['summary'])}</p>",
            f"<p>{escape(operation.get('description', ''))}</p>",
            *shown,
            f"<table><tr><th>status</th><th>meaning</th></tr>{''.join(rows)}</table>",
        ]
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    return f"<h3>{escape(name)}</h3>{_pre(schema)}"


def _pre(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
