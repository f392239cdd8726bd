"""PyTorch's contender of the product of matrices: python3 torch_gemm.py M K N THREADS. As gemm.mjs, protocol of serve.mjs."""

import json
import resource
import sys
import time


def say(value):
    print(json.dumps(value), flush=True)


try:
    import torch
except ImportError as error:
    say({"declined": str(error)})
    sys.exit(0)

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
for _ in range(11):
    torch.mm(a, b, out=c)
say({"peer": "torch", "threads": threads, "flops": 2 * m * k * n * times, "losses": [c[0, 0].item()] * 11})
for line in sys.stdin:
    words = line.split()
    if words[0] == "end":
        break
    milliseconds, end = [], time.perf_counter() + float(words[1])
    while True:
        start = time.perf_counter()
        for _ in range(times):
            torch.mm(a, b, out=c)
        now = time.perf_counter()
        milliseconds.append(1e3 * (now - start))
        if now >= end:
            break
    say({"milliseconds": milliseconds})
say({"peakResidentBytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss})
