# Writes batch-norm-pytorch.json (PyTorch 1.13, f64):
# python3 test/train/batch-norm-pytorch.py > test/train/batch-norm-pytorch.json
# The model of test/support/norm-model.ts: one batch of 7 as a whole, and in chunks whose normalisations see themselves only.
import json
import numpy
import torch

torch.set_default_dtype(torch.float64)
MOMENTUM = 0.25


def values(n, seed):
    """test/support/models.ts: a linear congruence in f32."""
    s = (seed * 2654435761) % 2**32
    out = []
    for _ in range(n):
        s = (s * 1664525 + 1013904223) % 2**32
        out.append(numpy.float32(s / 2**31 - 1))
    return numpy.array(out, numpy.float32)


def f64(array, shape):
    return torch.tensor(array.astype(numpy.float64)).reshape(shape)


def norm(kind, channels, letter):
    layer = kind(channels, momentum=MOMENTUM)
    seed = ord(letter)
    half = lambda shift, of: f64((shift + 0.5 * values(channels, of).astype(numpy.float64)).astype(numpy.float32), [channels])
    layer.weight.data, layer.bias.data = half(1, seed), half(0, seed + 1)
    layer.running_mean, layer.running_var = half(0, seed + 2), half(1, seed + 3)
    return layer


class Normed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = norm(torch.nn.BatchNorm1d, 3, 'f'), norm(torch.nn.BatchNorm1d, 5, 's')
        self.a = torch.nn.Parameter(f64(values(60, ord('a')), [12, 5]))
        self.b = torch.nn.Parameter(f64(values(10, ord('b')), [5, 2]))

    def forward(self, x):
        hidden = torch.tanh(self.first(x)).reshape(-1, 12) @ self.a
        return (torch.tanh(self.second(hidden)) + 0.5 * hidden) @ self.b, hidden


X = f64((3 + values(84, 5)).astype(numpy.float32), [7, 3, 4])
T = f64(values(14, 6), [7, 2])


def run(chunks):
    model, x = Normed(), X.clone().requires_grad_()
    parts = [model(c) for c in x.split(chunks)]
    y = torch.cat([p[0] for p in parts])
    loss = ((y - T) ** 2).mean()
    loss.backward()
    flat = lambda t: [float('%.10g' % v) for v in t.detach().reshape(-1)]
    return {
        'loss': flat(loss),
        'output/y': flat(y),
        'output/hidden': flat(torch.cat([p[1] for p in parts])),
        **{f'grad/{n}': flat(p.grad) for n, p in model.named_parameters()},
        'grad_input/x': flat(x.grad),
        **{f'buffer/{n}': flat(b) for n, b in model.named_buffers() if 'num_batches' not in n},
    }


def deferred(chunks):
    """Running statistics as torchgpipe's DeferredBatchNorm leaves them: once a step, by all that the layer was given."""
    model = Normed()
    given = {'first': [], 'second': []}
    for name, rows in given.items():
        getattr(model, name).register_forward_pre_hook(lambda _, i, rows=rows: rows.append(i[0].detach()))
    for c in X.split(chunks):
        model(c)
    out = {}
    for name, rows in given.items():
        layer = norm(torch.nn.BatchNorm1d, rows[0].shape[1], name[0])
        layer(torch.cat(rows))
        for n, b in layer.named_buffers():
            if 'num_batches' not in n:
                out[f'buffer/{name}.{n}'] = [float('%.10g' % v) for v in b]
    return out


print(json.dumps({'whole': run([7]), 'micro': run([3, 2, 2]), 'deferred': deferred([3, 2, 2])}))
