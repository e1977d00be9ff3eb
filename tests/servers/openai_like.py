"""An HTTP server that speaks OpenAI's chat completions and Batch API, in a thread or as a process.

`python -m servers.openai_like --latency 0.2` (with `tests` on the path) prints its address and serves until killed:
a client's overhead is measured against a server in another process.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from servers.background import Background
from servers.batches import Batches
from servers.chat import ApiError, Chat

API_KEY = "sk-toy"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OpenAILike(Background):
    """Serves a `Chat` on a free port of 127.0.0.1.

    Args:
        chat: The model.
        latency: Seconds before each chat completion.
        api_key: The only key it takes.
        batches: The Batch API's behaviour; without it its paths are not found.
        remember: Whether the reply to a request is computed once only, for speed.

    Attributes:
        url: The address, without `/v1`.
        bodies: Chat requests so far, in the order of their arrival (none with `remember`).
        busy: Chat requests now being answered; `busiest` is the most there were.
    """

    def __init__(
        self,
        chat: Chat,
        latency: float = 0,
        api_key: str = API_KEY,
        batches: Batches | None = None,
        remember: bool = False,
    ) -> None:
        self.chat, self.latency, self.api_key, self.batches = chat, latency, api_key, batches
        self.bodies: list[dict[str, Any]] = []
        self.busy = self.busiest = 0
        self._remembered: dict[bytes, bytes] | None = {} if remember else None

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def model(self) -> str:
        return self.chat.model

    async def start(self, port: int = 0) -> None:
        app = web.Application(middlewares=[self._guard], client_max_size=200 * 2**20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        if self.batches:
            app.router.add_post("/v1/files", self._upload)
            app.router.add_get("/v1/files/{id}", self._file)
            app.router.add_get("/v1/files/{id}/content", self._content)
            app.router.add_post("/v1/batches", self._create)
            app.router.add_get("/v1/batches", self._list)
            app.router.add_get("/v1/batches/{id}", self._retrieve)
            app.router.add_post("/v1/batches/{id}/cancel", self._cancel)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, backlog=1024).start()
        self.url = "http://127.0.0.1:{1}".format(*self._runner.addresses[0])

    async def stop(self) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.headers.get("Authorization") != f"Bearer {self.api_key}":
                raise ApiError(401, "Incorrect API key provided.", "invalid_api_key")
            return await handler(request)
        except ApiError as error:
            return web.json_response(error.body, status=error.status)
        except web.HTTPNotFound:
            error = ApiError(404, f"Invalid URL ({request.method} {request.path})")
            return web.json_response(error.body, status=404)

    async def _complete(self, request: web.Request) -> web.Response:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            answer = self._answer(await request.read())
            await asyncio.sleep(self.latency)
        finally:
            self.busy -= 1
        return web.Response(body=answer, content_type="application/json")

    def _answer(self, body: bytes) -> bytes:
        if self._remembered is not None:
            if body not in self._remembered:
                self._remembered[body] = json.dumps(self.chat.reply(json.loads(body))).encode()
            return self._remembered[body]
        request = json.loads(body)
        self.bodies.append(request)
        return json.dumps(self.chat.reply(request)).encode()

    async def _models(self, request: web.Request) -> web.Response:
        model = {"id": self.chat.model, "object": "model", "created": 0, "owned_by": "toy"}
        return web.json_response({"object": "list", "data": [model]})

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, web.FileField) or not isinstance(purpose, str):
            raise ApiError(400, "'file' and 'purpose' are required.", param="file")
        return web.json_response(self.batches.upload(file.filename, purpose, file.file.read()))

    async def _file(self, request: web.Request) -> web.Response:
        return web.json_response(self.batches.file(request.match_info["id"])[0])

    async def _content(self, request: web.Request) -> web.Response:
        content = self.batches.file(request.match_info["id"])[1]
        return web.Response(body=content, content_type="application/octet-stream")

    async def _create(self, request: web.Request) -> web.Response:
        return web.json_response(self.batches.create(await request.json()))

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response(self.batches.page(request.query.get("after"), int(request.query.get("limit", 20))))

    async def _retrieve(self, request: web.Request) -> web.Response:
        return web.json_response(self.batches.retrieve(request.match_info["id"]))

    async def _cancel(self, request: web.Request) -> web.Response:
        return web.json_response(self.batches.cancel(request.match_info["id"]))


async def _serve_forever(latency: float, port: int) -> None:
    chat = Chat(lambda prompt: {"agree": 0.6, "disagree": 0.3, "neutral": 0.1})
    server = OpenAILike(chat, latency, remember=True)
    await server.start(port)
    print(server.base_url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    arguments = parser.parse_args()
    asyncio.run(_serve_forever(arguments.latency, arguments.port))
