"""Ask about a picture, with OpenAI's client. The picture goes along in the request, as a data: URI.

$ rayllm up -f examples/hub.yaml
$ python examples/vision.py
"""

import base64
import os
import struct
import sys
import zlib

from openai import OpenAI
from openai.types.chat import ChatCompletion

SIDE = 64


def png(red: int, green: int, blue: int) -> bytes:
    """A square of one colour, as a PNG file. A photograph would do as well: `Path("cat.jpg").read_bytes()`."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([red, green, blue]) * SIDE) * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def look(client: OpenAI, model: str, picture: bytes, question: str) -> ChatCompletion:
    """The answer to a question about a picture."""
    uri = "data:image/png;base64," + base64.b64encode(picture).decode()
    return client.chat.completions.create(
        model=model,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": uri}},
                    {"type": "text", "text": question},
                ],
            }
        ],
        temperature=0,
        max_tokens=40,
        logprobs=True,
    )


def main(model: str = "vision", url: str = "http://127.0.0.1:8000/v1") -> None:
    """Ask about a red square."""
    with OpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "not-needed")) as client:
        answer = look(client, model, png(255, 0, 0), "Which colour is this?")
    print(answer.choices[0].message.content)
    print(f"  the picture and the question took {answer.usage.prompt_tokens if answer.usage else 0} tokens")


if __name__ == "__main__":
    main(*sys.argv[1:])
