"""The network of `experiments/translate_rnn.py` in PyTorch, on the same batches: BLEU after the same steps.

`python -m benchmarks.translate_pytorch [--seed N] [--epochs N]`, with the data sets in the folder `JAXNETS_DATA`.
"""

from __future__ import annotations

import argparse
import copy
import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout

from benchmarks.seq2seq.pytorch import Seq2Seq
from experiments import translate_rnn
from experiments.support.translation import LONGEST, load_task, make_schedule
from jaxnets import metrics
from jaxnets.data import encode_all, pad_sequences, until_end

NETWORK, RECIPE = translate_rnn.NETWORKS["small"], translate_rnn.RECIPES["small"]


class Translator(Seq2Seq):
    """The benchmark's network, for padded sequences and with dropout."""

    def drop(self, x):
        return dropout(x, NETWORK["dropout_rate"], self.training)

    def read(self, source):
        lengths = (source != 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.drop(self.source(source)), lengths, batch_first=True, enforce_sorted=False
        )
        memory, ends = self.encoder(packed)
        memory, _ = nn.utils.rnn.pad_packed_sequence(memory, batch_first=True, total_length=source.shape[1])
        return self.begin_with(ends), (memory, self.memory(memory), source == 0)

    def forward(self, source, target):
        state, memory = self.read(source)
        features = []
        for x in self.drop(self.target(target)).unbind(1):
            state, of_one = self.step(x, state, *memory)
            features.append(of_one)
        return self.out(self.drop(torch.stack(features, dim=1)))

    def write(self, source, begin, end):
        """The likeliest next word, again and again."""
        state, memory = self.read(source)
        words, ids = [], torch.full((len(source),), begin)
        ended = torch.zeros(len(source), dtype=torch.bool)
        while len(words) < LONGEST and not ended.all():
            state, features = self.step(self.target(ids), state, *memory)
            ids = self.out(features).argmax(1)
            ended |= ids == end
            words.append(ids)
        return torch.stack(words, dim=1)


def loss_of(network, batch, reduction="mean"):
    """The cross-entropy of the batch, and how many words it has; rows that only fill it have none."""
    target = torch.tensor(batch["target"] * (batch["weights"] > 0)[:, None]).long()
    logits = network(torch.tensor(batch["source"]).long(), torch.tensor(batch["target"]).long()[:, :-1])
    return cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=0, reduction=reduction)


@torch.no_grad()
def validation_loss(network, buckets):
    """The mean over all words."""
    network.eval()
    sums = [float(loss_of(network, batch, "sum")) for batch in buckets.in_order()]
    words = [int(((batch["target"][:, 1:] > 0) * batch["weights"][:, None]).sum()) for batch in buckets.in_order()]
    return sum(sums) / sum(words)


@torch.no_grad()
def bleu(network, task, split):
    """BLEU of greedy translations, in percent."""
    network.eval()
    special, texts = task.target.special, task.texts[split]
    ids = encode_all(task.source, texts.source, end=True)
    order = np.argsort([len(one) for one in ids], kind="stable")
    answers = [""] * len(ids)
    for first in range(0, len(order), 50):
        rows = order[first : first + 50]
        padded, _ = pad_sequences([ids[i] for i in rows], max(len(ids[i]) for i in rows))
        written = network.write(torch.tensor(padded).long(), special["begin"], special["end"]).numpy()
        for row, answer in zip(rows, written, strict=True):
            answers[row] = task.target.decode(until_end(answer, special["end"]))
    return metrics.bleu(answers, texts.target, tokenize="none")


def main() -> None:
    """Train, and print the losses of the epochs and the BLEU of the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    task = load_task("de-en", RECIPE, seed=arguments.seed)
    network = Translator(task.source.size, task.target.size)
    optimizer = torch.optim.Adam(network.parameters())
    per_epoch = task.train.steps_per_epoch
    schedule = make_schedule(RECIPE, arguments.epochs * per_epoch)
    best, best_state, cpu = math.inf, network.state_dict(), time.process_time()
    for step in range(arguments.epochs * per_epoch):
        network.train()
        optimizer.param_groups[0]["lr"] = float(schedule(step))
        optimizer.zero_grad()
        loss_of(network, task.train.batch(arguments.seed, step)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), RECIPE.clip)
        optimizer.step()
        if (step + 1) % per_epoch == 0:
            loss = validation_loss(network, task.validation)
            seconds = time.process_time() - cpu
            print(f"epoch {(step + 1) // per_epoch}: validation loss {loss:.4f}, {seconds:.0f} s of CPU", flush=True)
            if loss < best:
                best, best_state = loss, copy.deepcopy(network.state_dict())
    network.load_state_dict(best_state)
    for split in ("test_2016", "test_2017", "coco"):
        print(f"{split}: BLEU {bleu(network, task, split):.2f} greedy")


if __name__ == "__main__":
    main()
