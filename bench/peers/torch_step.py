"""PyTorch's contender, eager on the CPU: python3 torch_step.py MODEL FILE THREADS [SETUP]. The protocol is that of serve.mjs.

SETUP is JSON: `rate` of SGD, `channelsLast` (images as height, width, channel), `microbatches` (gradients add up, and batch
normalisation has the statistics of each).
"""

import json
import math
import struct
import sys

from serve import blas, decline, serve

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    decline(error)

name, file, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
setup = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}


def read(path):
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(length)), bytearray(f.read())
    types = {"F32": torch.float32, "I32": torch.int32}
    return {
        key: torch.frombuffer(data[slice(*v["data_offsets"])], dtype=types[v["dtype"]]).reshape(v["shape"]).clone()
        for key, v in header.items()
        if key != "__metadata__"
    }


tensors = read(file)
x, y = tensors["x"], tensors["y"].long().reshape(-1)
x = x.long() if x.dtype == torch.int32 else x
P = {k[len("parameters/") :]: v for k, v in tensors.items() if k.startswith("parameters/")}
if setup.get("channelsLast"):
    x = x.contiguous(memory_format=torch.channels_last)
    P = {k: v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in P.items()}
for value in P.values():
    value.requires_grad_()


def linear(h, layer):
    return F.linear(h, P[layer + ".weight"], P.get(layer + ".bias"))


def layer_norm(h, layer):
    return F.layer_norm(h, h.shape[-1:], P[layer + ".weight"], P[layer + ".bias"])


def mlp(x):
    return linear(F.relu(linear(F.relu(linear(x, "l0")), "l1")), "l2")


def cnn(x):
    h = F.max_pool2d(F.relu(F.conv2d(x, P["c0.weight"], P["c0.bias"], padding=2)), 2)
    h = F.max_pool2d(F.relu(F.conv2d(h, P["c1.weight"], P["c1.bias"])), 2).flatten(1)
    return linear(F.relu(linear(F.relu(linear(h, "l0")), "l1")), "l2")


def gpt(x, heads=4):
    (n, t), width = x.shape, P["token.weight"].shape[1]
    h = F.embedding(x, P["token.weight"]) + P["position.weight"]
    for i in range(4):
        block = "block.%d" % i
        qkv = F.linear(
            layer_norm(h, block + ".norm1"),
            P[block + ".self_attn.in_proj_weight"],
            P[block + ".self_attn.in_proj_bias"],
        )
        q, k, v = qkv.reshape(n, t, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(width // heads)) + mask
        seen = torch.softmax(scores, -1) @ v
        h = h + linear(seen.permute(0, 2, 1, 3).reshape(n, t, width), block + ".self_attn.out_proj")
        hidden = F.gelu(linear(layer_norm(h, block + ".norm2"), block + ".linear1"), approximate="tanh")
        h = h + linear(hidden, block + ".linear2")
    return linear(layer_norm(h, "norm"), "head").reshape(n * t, -1)


def resnet(x):
    def normed(h, layer):
        return F.batch_norm(h, None, None, P[layer + ".weight"], P[layer + ".bias"], training=True)

    h = F.relu(normed(F.conv2d(x, P["conv1.weight"], padding=1), "bn1"))
    for stage in range(1, 5):
        for block in range(2):
            at = "layer%d.%d" % (stage, block)
            stride = 2 if stage > 1 and block == 0 else 1
            short = h
            if stride == 2:
                short = normed(F.conv2d(h, P[at + ".downsample.0.weight"], stride=2), at + ".downsample.1")
            g = F.relu(normed(F.conv2d(h, P[at + ".conv1.weight"], stride=stride, padding=1), at + ".bn1"))
            h = F.relu(normed(F.conv2d(g, P[at + ".conv2.weight"], padding=1), at + ".bn2") + short)
    return linear(h.mean((2, 3)), "fc")


def lstm(x):
    embedded = F.embedding(x, P["embedding.weight"])
    zero = torch.zeros(1, x.shape[0], P["layer.0.weight_hh_l0"].shape[1])
    weights = [P["layer.0.%s_l0" % n] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    h, _, _ = torch._VF.lstm(embedded, (zero, zero), weights, True, 1, 0.0, True, False, True)
    return linear(h, "head").flatten(0, 1)


mask = torch.triu(torch.full((x.shape[-1], x.shape[-1]), -1e9), 1)
forward = {"mlp": mlp, "cnn": cnn, "gpt": gpt, "resnet": resnet, "lstm": lstm}[name]
optimizer = torch.optim.SGD(list(P.values()), lr=setup.get("rate", 0.1))
microbatches = setup.get("microbatches", 1)
# In order, larger ones first, as `tensor_split` has them; of sequences each row has as many targets as tokens.
chunks = list(zip(torch.tensor_split(x, microbatches), torch.tensor_split(y.reshape(x.shape[0], -1), microbatches)))


def step():
    optimizer.zero_grad(set_to_none=True)
    total = 0
    for inputs, targets in chunks:
        loss = F.cross_entropy(forward(inputs), targets.reshape(-1)) * (targets.numel() / y.numel())
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


serve({"peer": "torch", "version": torch.__version__, "threads": threads, "blas": blas()}, step)
