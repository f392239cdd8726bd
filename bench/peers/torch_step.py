"""PyTorch's contender, eager on the CPU: python3 torch_step.py MODEL FILE THREADS. The protocol is that of serve.mjs."""

import json
import math
import struct
import sys

from serve import decline, serve

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    decline(error)

name, file, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
RATE = 0.001 if name == "resnet" else 0.1


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
P = {k[len("parameters/") :]: v.requires_grad_() for k, v in tensors.items() if k.startswith("parameters/")}


def linear(h, layer):
    return F.linear(h, P[layer + ".weight"], P.get(layer + ".bias"))


def layer_norm(h, layer):
    return F.layer_norm(h, h.shape[-1:], P[layer + ".weight"], P[layer + ".bias"])


def mlp():
    return linear(F.relu(linear(F.relu(linear(x, "l0")), "l1")), "l2")


def cnn():
    h = F.max_pool2d(F.relu(F.conv2d(x, P["c0.weight"], P["c0.bias"], padding=2)), 2)
    h = F.max_pool2d(F.relu(F.conv2d(h, P["c1.weight"], P["c1.bias"])), 2).flatten(1)
    return linear(F.relu(linear(F.relu(linear(h, "l0")), "l1")), "l2")


def gpt(heads=4):
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


def resnet():
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


def lstm():
    embedded = F.embedding(x, P["embedding.weight"])
    zero = torch.zeros(1, x.shape[0], P["layer.0.weight_hh_l0"].shape[1])
    weights = [P["layer.0.%s_l0" % n] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    h, _, _ = torch._VF.lstm(embedded, (zero, zero), weights, True, 1, 0.0, True, False, True)
    return linear(h, "head").reshape(y.shape[0], -1)


mask = torch.triu(torch.full((x.shape[-1], x.shape[-1]), -1e9), 1)
forward = {"mlp": mlp, "cnn": cnn, "gpt": gpt, "resnet": resnet, "lstm": lstm}[name]
optimizer = torch.optim.SGD(list(P.values()), lr=RATE)


def step():
    optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(forward(), y)
    loss.backward()
    optimizer.step()
    return loss.item()


losses = [step() for _ in range(11)]
serve({"peer": "torch", "version": torch.__version__, "threads": threads}, losses, step)
