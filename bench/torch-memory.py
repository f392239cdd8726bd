"""What an eager step of PyTorch holds for its backward: the bytes behind the comparison of docs/memory.md.

    python3 bench/torch-memory.py > bench/torch-memory.json

Two models as Partita builds them (`partita plan --model.kind gpt|resnet`), in f32 with Adam. `saved` counts each storage
that autograd keeps for the backward once, parameters and the batch itself excepted; gradients and Adam's moments are as
large as the parameters. The sum is a lower bound of what the step needs: kernels' workspace, gradients of activations and
the allocator's rounding are not in it.
"""

import json

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    """Pre-norm transformer block with causal attention of separate matrix products."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, mask):
        n, t, d = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q * (d // self.heads) ** -0.5) @ k.transpose(-2, -1) + mask
        attended = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(n, t, d)
        x = x + self.proj(attended)
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self, vocab, context, layers, heads, width):
        super().__init__()
        self.token, self.position = nn.Embedding(vocab, width), nn.Parameter(torch.randn(context, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.register_buffer("mask", torch.triu(torch.full((context, context), float("-inf")), 1))

    def forward(self, x):
        h = self.token(x) + self.position
        for block in self.blocks:
            h = block(h, self.mask)
        return self.norm(h) @ self.token.weight.t()


class Basic(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.shortcut = None
        if stride != 1 or before != width:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + (self.shortcut(x) if self.shortcut else x))


class Resnet(nn.Module):
    def __init__(self, channels, classes, widths, blocks):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        layers, before = [], widths[0]
        for stage, width in enumerate(widths):
            for i in range(blocks):
                layers.append(Basic(before, width, 2 if stage > 0 and i == 0 else 1))
                before = width
        self.layers, self.fc = nn.Sequential(*layers), nn.Linear(before, classes)

    def forward(self, x):
        h = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.fc(h.mean((2, 3)))


def saved_bytes(model, loss_of, batch):
    kept = {}
    excluded = {t.storage().data_ptr() for t in [*model.parameters(), *model.buffers(), *batch]}

    def pack(t):
        pointer = t.storage().data_ptr()
        if pointer not in excluded:
            kept[pointer] = (t.storage().nbytes(), t)  # the reference keeps the address from being used again
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = loss_of()
    loss.backward()
    return sum(bytes for bytes, _ in kept.values())


def report(name, config, batch_size, model, loss_of, batch):
    parameters = sum(p.numel() * 4 for p in model.parameters())
    saved = saved_bytes(model, loss_of, batch)
    inputs = sum(t.numel() * 4 for t in batch)  # 32 bits each, as here
    sizes = {"parameters": parameters, "gradients": parameters, "optimizerState": 2 * parameters}
    total = sum(sizes.values()) + saved + inputs
    return {"name": name, "model": config, "batch": batch_size, **sizes, "saved": saved, "inputs": inputs, "total": total}


def gpt(batch, vocab, context, layers, heads, width):
    model = Gpt(vocab, context, layers, heads, width)
    x, y = torch.randint(vocab, (batch, context)), torch.randint(vocab, (batch, context))
    config = dict(kind="gpt", vocab=vocab, context=context, layers=layers, heads=heads, width=width)
    loss = lambda: F.cross_entropy(model(x).reshape(-1, vocab), y.reshape(-1))
    return report("gpt", config, batch, model, loss, [x, y])


def resnet(batch, channels, size, classes, widths, blocks):
    model = Resnet(channels, classes, widths, blocks)
    x, y = torch.randn(batch, channels, size, size), torch.randint(classes, (batch,))
    config = dict(kind="resnet", channels=channels, size=size, classes=classes, widths=widths, blocks=blocks)
    return report("resnet", config, batch, model, lambda: F.cross_entropy(model(x), y), [x, y])


torch.manual_seed(0)
rows = [
    gpt(batch=8, vocab=96, context=64, layers=4, heads=4, width=128),
    gpt(batch=16, vocab=512, context=128, layers=2, heads=4, width=64),
    resnet(batch=32, channels=3, size=32, classes=10, widths=[16, 32, 64], blocks=1),
    resnet(batch=16, channels=3, size=32, classes=10, widths=[16, 32, 64], blocks=3),
]
print(json.dumps({"torch": torch.__version__, "optimizer": "adam", "rows": rows}, indent=1))
