"""`transformers serve` for one model, by the name that clients send: server.py NAME FOLDER [FLAG...].

The engine's own Python runs it; RayLLM never imports it.
"""

# What is patched here has neither types nor a public way in.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202, SLF001

import os
import sys
from contextlib import aclosing
from http import HTTPStatus

import typer
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from transformers.cli.serve import Serve
from transformers.cli.serving import chat_completion, completion, model_manager, server

NAME, FOLDER, *FLAGS = sys.argv[1:]
MODEL = {"id": NAME, "object": "model", "created": 0, "owned_by": "transformers"}
HERE = ".@main"
"""The folder that this process works in, the way Transformers writes a model and its revision."""


class OneModel(model_manager.ModelManager):
    """Knows one model, by its name; Transformers' own lists the hub's cache, and wants the path as the name."""

    process_model_name = staticmethod(str)
    get_gen_models = staticmethod(lambda: [MODEL])

    def _load_processor(self, _, **more):
        return super()._load_processor(HERE, **more)

    def _load_model(self, _, **more):
        return super()._load_model(HERE, **more)


def build_server(*args, build=server.build_server, **more):
    """Transformers' server, with errors in OpenAI's shape."""

    def refuse(_, error):
        status = {422: 400}.get(found := getattr(error, "status_code", 400), found)
        kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
        said = str(getattr(error, "detail", f"the request can't be read: {error!r}"))
        return JSONResponse({"error": {"message": said, "type": kind, "param": None, "code": status}}, status)

    app = build(*args, **more)
    for mistake in (HTTPException, RequestValidationError, KeyError, TypeError, ValueError):
        app.add_exception_handler(mistake, refuse)
    return app


def ended(begin):
    """A handler's way to begin a stream, whose streams end as OpenAI's do."""

    async def parts_of(stream):
        async with aclosing(stream):  # a client that leaves stops the generation
            async for part in stream:
                yield part
        yield "data: [DONE]\n\n"

    def begun(*args, **more):
        answer = begin(*args, **more)
        answer.body_iterator = parts_of(answer.body_iterator)
        return answer

    return begun


if __name__ == "__main__":
    model_manager.ModelManager, server.build_server = OneModel, build_server
    for handler in (chat_completion.ChatCompletionHandler, completion.CompletionHandler):
        handler._streaming = ended(handler._streaming)
    os.chdir(FOLDER)
    sys.argv = ["transformers serve", NAME, *FLAGS]
    typer.run(Serve)
