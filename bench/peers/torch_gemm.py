"""PyTorch's contender of the product of matrices: python3 torch_gemm.py M K N THREADS. As gemm.mjs, protocol of serve.mjs."""

import sys

from serve import decline, serve

try:
    import torch
except ImportError as error:
    decline(error)

m, k, n, threads = (int(v) for v in sys.argv[1:5])
torch.set_num_threads(threads)
times = max(1, round(20e6 / (2 * m * k * n)))


def uniform(seed, count):
    state = seed
    values = []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values.append(state / 2**32 * 2 - 1)
    return values


drawn = torch.tensor(uniform(3, m * k + k * n), dtype=torch.float64).float()
a, b, c = drawn[: m * k].reshape(m, k), drawn[m * k :].reshape(k, n), torch.empty(m, n)


def step():
    for _ in range(times):
        torch.mm(a, b, out=c)


step()
serve({"peer": "torch", "threads": threads, "flops": 2 * m * k * n * times}, [c[0, 0].item()] * 11, step)
