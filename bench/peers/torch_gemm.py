"""PyTorch's contender of products of matrices: python3 torch_gemm.py THREADS TASK …. As gemm.mjs, protocol of serve.mjs."""

import sys

from serve import blas, decline, serve_tasks

try:
    import torch
except ImportError as error:
    decline(error)

threads = int(sys.argv[1])
torch.set_num_threads(threads)


def uniform(seed, count):
    state = seed
    values = []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values.append(state / 2**32 * 2 - 1)
    return torch.tensor(values, dtype=torch.float64).float()


drawn = uniform(3, 0)


def task(word):
    global drawn
    shape, form = word.split("-")
    m, k, n = (int(v) for v in shape.split("x"))
    if len(drawn) < m * k + k * n:
        drawn = uniform(3, m * k + k * n)
    times = max(1, round(20e6 / (2 * m * k * n)))
    a, b, c = drawn[: m * k], drawn[m * k : m * k + k * n], torch.empty(m, n)
    a = a.reshape(k, m).t() if form[0] == "T" else a.reshape(m, k)
    b = b.reshape(n, k).t() if form[1] == "T" else b.reshape(k, n)

    def step():
        for _ in range(times):
            torch.mm(a, b, out=c)
        return c[0].sum(dtype=torch.float64).item()

    return {"flops": 2 * m * k * n * times}, step


tasks = {word: task(word) for word in sys.argv[2:]}
serve_tasks({"peer": "torch", "version": torch.__version__, "threads": threads, "blas": blas()}, tasks)
