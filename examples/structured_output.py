"""Get an answer in the form of a Python class, with OpenAI's client.

$ rayllm up -f examples/smollm2.yaml
$ python examples/structured_output.py
"""

import os
import sys
from typing import Literal

from openai import OpenAI
from pydantic import BaseModel, Field


class City(BaseModel):
    """The form. The bounds matter with small models: they don't always know when to stop."""

    name: str = Field(max_length=30)
    continent: Literal["Africa", "America", "Asia", "Europe", "Oceania"]
    inhabitants: int = Field(ge=0, le=100_000_000)


def describe(client: OpenAI, model: str, city: str) -> City | None:
    """What the model believes about a city. The engine lets it write nothing but what fits the form."""
    answer = client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": f"Tell me about {city} as JSON: name, continent, inhabitants."}],
        response_format=City,
        temperature=0,
        max_tokens=100,
    )
    return answer.choices[0].message.parsed


def main(model: str = "smollm2", url: str = "http://127.0.0.1:8000/v1") -> None:
    """Print the fields."""
    with OpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "not-needed")) as client:
        print(repr(describe(client, model, "Paris")))


if __name__ == "__main__":
    main(*sys.argv[1:])
