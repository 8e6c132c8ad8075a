"""Let the model call a function of yours, with OpenAI's client.

$ rayllm up -f examples/smollm2.yaml
$ python examples/tools.py
"""

import json
import os
import sys

from openai import OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam

WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, now",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Berlin", "Paris", "Rome"]},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


def get_weather(city: str, unit: str) -> str:
    """What a real program would look up."""
    return f"It is sunny in {city}, {21 if unit == 'celsius' else 70} degrees {unit}."


def call(client: OpenAI, model: str, question: str) -> dict[str, str]:
    """The arguments with which the model calls the function.

    `required` makes it call one (with `auto` it decides itself), and `strict` above makes the arguments fit the schema,
    however small the model is.
    """
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        tools=[WEATHER],
        tool_choice="required",
        temperature=0,
        max_tokens=100,
    )
    calls = answer.choices[0].message.tool_calls or []
    arguments: dict[str, str] = json.loads(next(made.function.arguments for made in calls if made.type == "function"))
    return arguments


def main(model: str = "smollm2", url: str = "http://127.0.0.1:8000/v1") -> None:
    """Print the call and what the function says."""
    with OpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "not-needed")) as client:
        arguments = call(client, model, "What is the weather in Paris, in celsius?")
    print(f"get_weather({arguments})")
    print(f"  {get_weather(**arguments)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
