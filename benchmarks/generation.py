"""Generation with GPT-2: `python -m benchmarks.generation [--model small|tiny] [--rounds N]` prints a Markdown table.

The same random weights in jaxnets and in Hugging Face's `generate` with its cache, greedy, one prompt and four, in one
process and in turns; the tokens are compared first. Both use all cores, float32, and the allocator setting that jaxnets
applies.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import machine
from jaxnets import decode, models, unstack, weights
from jaxnets.training import keep_freed_memory
from tests.torchvision_oracle import import_torchvision

import_torchvision("torchvision")  # transformers imports it where it is installed
import transformers  # noqa: E402

MODELS = {
    "small": {"n_layer": 12, "n_head": 12, "n_embd": 768, "vocab_size": 50_257, "n_positions": 1024},
    "tiny": {"n_layer": 4, "n_head": 4, "n_embd": 128, "vocab_size": 65, "n_positions": 256},
}
PROMPT, LENGTH = 64, 128
GREEDY = decode.Sampling(temperature=0.0)


def networks(name: str):
    """The network of Hugging Face, and the config and parameters of ours with its weights."""
    torch.manual_seed(0)
    settings = MODELS[name]
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**settings, bos_token_id=None, eos_token_id=None)
    ).eval()
    model = models.gpt(
        models.GPTConfig(
            vocabulary=settings["vocab_size"],
            context=settings["n_positions"],
            layers=settings["n_layer"],
            heads=settings["n_head"],
            features=settings["n_embd"],
        )
    )
    params = weights.from_torch(theirs.state_dict(), model)[0]
    return theirs, model.config, params | {"blocks": unstack(params["blocks"])}


def programs(name: str, batch: int, length: int) -> dict[str, Callable[[], np.ndarray]]:
    """What generates `length` tokens, by the name of the library."""
    theirs, config, params = networks(name)
    prompt = np.random.default_rng(1).integers(0, config.vocabulary, (batch, PROMPT)).astype(np.int32)
    ids = torch.tensor(prompt).long()
    settings = {"max_new_tokens": length, "do_sample": False, "pad_token_id": 0}

    def hugging_face() -> np.ndarray:
        with torch.no_grad():
            found = theirs.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        return found[:, PROMPT:].numpy()

    def ours() -> np.ndarray:
        return np.asarray(models.generate_tokens(config, params, prompt, length, sampling=GREEDY).ids)

    return {"jaxnets": ours, "hugging_face": hugging_face}


def measure(name: str, batch: int, length: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each library in turns, after the tokens were compared."""
    both = programs(name, batch, length)
    tokens = {library: program() for library, program in both.items()}
    same = np.mean(tokens["jaxnets"] == tokens["hugging_face"])
    if same < 1:  # two tokens may be as likely but for rounding, and what follows then differs
        print(f"{name}, {batch} prompts: {same:.1%} of the tokens are the same")
    seconds: dict[str, list[float]] = {library: [] for library in both}
    for _ in range(rounds):
        for library, program in both.items():
            begun = time.perf_counter()
            program()
            seconds[library].append(time.perf_counter() - begun)
    return seconds


def beam_seconds(name: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of a beam search with 4 beams for one prompt, in turns."""
    theirs, config, params = networks(name)
    prompt = np.random.default_rng(1).integers(0, config.vocabulary, (1, PROMPT)).astype(np.int32)
    ids = torch.tensor(prompt).long()
    settings = {"max_new_tokens": LENGTH, "do_sample": False, "pad_token_id": 0, "num_beams": 4}

    @jax.jit
    def search(params, prompt):
        carry = models.gpt_carry(config, params, batch=1, capacity=PROMPT + LENGTH)
        return decode.beam_search(models.gpt_step(config, params), carry, prompt, LENGTH, beams=4).ids[:, 0]

    def hugging_face() -> np.ndarray:
        with torch.no_grad():
            return theirs.generate(ids, attention_mask=torch.ones_like(ids), **settings)[:, PROMPT:].numpy()

    both = {"jaxnets": lambda: np.asarray(search(params, jnp.asarray(prompt))), "hugging_face": hugging_face}
    for program in both.values():
        program()
    seconds: dict[str, list[float]] = {library: [] for library in both}
    for _ in range(rounds):
        for library, program in both.items():
            begun = time.perf_counter()
            program()
            seconds[library].append(time.perf_counter() - begun)
    return seconds


def rows(name: str, rounds: int) -> list[str]:
    """The rows of the table for one network."""
    cases = [("1 prompt", 1, LENGTH), ("4 prompts", 4, LENGTH), ("1 prompt, the first token only", 1, 1)]
    measured = [(words, batch * length, measure(name, batch, length, rounds)) for words, batch, length in cases]
    measured.append(("1 prompt, 4 beams", LENGTH, beam_seconds(name, rounds)))
    lines = []
    for words, tokens, seconds in measured:
        medians = {library: statistics.median(values) for library, values in seconds.items()}
        for library, values in seconds.items():
            numbers = f"{medians[library]:.3f} | {min(values):.3f} | {max(values):.3f}"
            ratio = medians["jaxnets"] / medians[library]
            rate = tokens / medians[library]
            lines.append(f"| {name} | {words} | {library} | {len(values)} | {numbers} | {rate:,.1f} | {ratio:.2f} |")
    return lines


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    keep_freed_memory()
    print(f"{machine.describe()}\n- transformers {transformers.__version__}\n")
    print(f"Prompts of {PROMPT} tokens, {LENGTH} new ones, greedy, float32.\n")
    print("| network | what | library | n | median s | min | max | tokens/s | jaxnets / library |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.model or MODELS:
        print("\n".join(rows(name, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
