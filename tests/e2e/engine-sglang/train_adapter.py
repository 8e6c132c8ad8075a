"""Trains a LoRA adapter with peft until the model gives one answer to one question, and prints what is said by both.

Run by the Python of an engine's environment, with peft beside it, with the arguments of `main`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch  # type: ignore[import-not-found]  # noqa: TID251 - runs in an engine's environment
from peft import LoraConfig, get_peft_model  # type: ignore[import-not-found]
from transformers import AutoModelForCausalLM, AutoTokenizer  # type: ignore[import-not-found]

STEPS = 100
ENOUGH = 0.02
"""A loss at which each token of the answer is all but certain."""


def main(folder: str, target: str, question: str, answer: str, modules: str) -> None:
    """Train, save, and print the greedy answers as JSON."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    user = [{"role": "user", "content": question}]
    prompt = tokens(tokenizer, user, add_generation_prompt=True)
    said = {"model": greedy(model, tokenizer, prompt)}
    tuned = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=modules.split(",")))
    whole = tokens(tokenizer, [*user, {"role": "assistant", "content": answer}])
    labels = whole.clone()
    labels[:, : prompt.shape[1]] = -100
    optimizer = torch.optim.AdamW([one for one in tuned.parameters() if one.requires_grad], lr=1e-2)
    for _ in range(STEPS):
        loss = tuned(input_ids=whole, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < ENOUGH:
            break
    tuned.eval()
    said["adapter"] = greedy(tuned, tokenizer, prompt)
    tuned.save_pretrained(target)
    sys.stdout.write(json.dumps(said) + "\n")


def tokens(tokenizer: Any, messages: list[dict[str, str]], **more: Any) -> Any:
    """A conversation as the model's own template has it."""
    return tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True, **more)["input_ids"]


def greedy(model: Any, tokenizer: Any, prompt: Any) -> str:
    """The likeliest answer."""
    made = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=16, do_sample=False)
    return str(tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
