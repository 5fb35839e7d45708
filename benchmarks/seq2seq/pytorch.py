"""PyTorch, eager: nn.GRU reads, and a loop over nn.GRUCell with Bahdanau's attention writes; one product for logits."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks import seq2seq as case
from benchmarks.gru.pytorch import NAMES
from benchmarks.peer import Peer, cycle


class Seq2Seq(nn.Module):
    def __init__(self, source=case.SOURCE, target=case.TARGET):
        super().__init__()
        embedding, hidden = case.EMBEDDING, case.HIDDEN
        self.source = nn.Embedding(source, embedding)
        self.target = nn.Embedding(target, embedding)
        self.encoder = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)
        self.begin = nn.Linear(2 * hidden, hidden)
        self.query = nn.Linear(hidden, hidden)
        self.memory = nn.Linear(2 * hidden, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.decoder = nn.GRUCell(embedding + 2 * hidden, hidden)
        self.out = nn.Linear(embedding + 3 * hidden, target)

    def begin_with(self, ends):
        return torch.tanh(self.begin(torch.cat(list(ends), dim=1)))

    def step(self, x, state, memory, projected, masked=None):
        scores = self.score(torch.tanh(self.query(state)[:, None] + projected))[..., 0]
        scores = scores if masked is None else scores.masked_fill(masked, -torch.inf)
        context = torch.bmm(scores.softmax(1)[:, None], memory)[:, 0]
        state = self.decoder(torch.cat([x, context], dim=1), state)
        return state, torch.cat([state, context, x], dim=1)

    def forward(self, source, target):
        memory, ends = self.encoder(self.source(source))
        projected, state, features = self.memory(memory), self.begin_with(ends), []
        for x in self.target(target).unbind(1):
            state, of_one = self.step(x, state, memory, projected)
            features.append(of_one)
        return self.out(torch.stack(features, dim=1))


def two_biases(weights, path):
    """PyTorch's GRU has an input and a hidden bias of all gates."""
    hidden = torch.zeros(3 * case.HIDDEN)
    hidden[2 * case.HIDDEN :] = torch.tensor(weights[f"{path}/hidden_bias"])
    return hidden


def load(network, weights):
    tensors = {
        "source.weight": weights["source/embedding"],
        "target.weight": weights["target/embedding"],
        "score.weight": weights["attention/score"][None],
        "memory.weight": weights["attention/memory/kernel"].T,
    }
    linear = {"begin": "begin/hidden", "query": "attention/query", "out": "out"}
    for name, path in linear.items():
        tensors |= {f"{name}.weight": weights[f"{path}/kernel"].T, f"{name}.bias": weights[f"{path}/bias"]}
    recurrent = {"encoder/forward": "_l0", "encoder/backward": "_l0_reverse", "decoder": ""}
    for path, suffix in recurrent.items():
        first = path.split("/")[0]
        for ours, theirs in NAMES.items():
            array = two_biases(weights, path) if ours == "hidden_bias" else weights[f"{path}/{ours}"].T
            tensors[f"{first}.{theirs}{suffix}"] = array
    network.load_state_dict({name: torch.as_tensor(array) for name, array in tensors.items()})


def prepare(weights, source, target):
    network = Seq2Seq()
    load(network, weights)
    return train(case, network, source, target)


def train(case, network, source, target):
    batches = [[torch.tensor(part).long() for part in batch] for batch in case.batches(source, target)]
    optimizer, advance = torch.optim.Adam(network.parameters(), lr=case.RATE), cycle(batches)

    def run(steps):
        for _ in range(steps):
            source, target, labels = advance()
            optimizer.zero_grad()
            value = cross_entropy(network(source, target).flatten(0, 1), labels.flatten())
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), case.CLIP)
            optimizer.step()
        return value.item()

    return Peer(run)
