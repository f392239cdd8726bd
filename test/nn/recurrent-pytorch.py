# Writes recurrent-pytorch.json (PyTorch 1.13, f64): python3 test/nn/recurrent-pytorch.py > test/nn/recurrent-pytorch.json
# Two layers, both directions, initial states; values are sines, so that the test makes the same ones.
import torch, math, json
torch.set_default_dtype(torch.float64)
def fill(shape, phase):
    n = 1
    for d in shape: n *= d
    return torch.tensor([math.sin(1.7 * i + phase) * 0.6 for i in range(n)]).reshape(shape)
out = {}
for name, cls in [('lstm', torch.nn.LSTM), ('gru', torch.nn.GRU), ('rnn', torch.nn.RNN)]:
    m = cls(2, 3, num_layers=2, bidirectional=True)
    for k, (pn, p) in enumerate(m.named_parameters()):
        p.data = fill(list(p.shape), k)
    x = fill([3, 2, 2], 0.5).requires_grad_()
    h0 = fill([4, 2, 3], 0.25).requires_grad_()
    c0 = fill([4, 2, 3], 0.75).requires_grad_()
    y, s = m(x, (h0, c0)) if name == 'lstm' else m(x, h0)
    h, c = s if name == 'lstm' else (s, None)
    loss = (y * fill(y.shape, 2)).sum() + (h * fill(h.shape, 3)).sum() + ((c * fill(c.shape, 4)).sum() if c is not None else 0)
    loss.backward()
    o = {'names': [pn for pn, _ in m.named_parameters()], 'output': y, 'hN': h}
    if c is not None: o['cN'] = c
    o['dx'] = x.grad; o['dh0'] = h0.grad
    o['dw'] = {pn: p.grad.abs().sum() + p.grad.reshape(-1)[0] for pn, p in m.named_parameters()}
    out[name] = o
def conv(v):
    if isinstance(v, torch.Tensor): return [float('%.9g' % z) for z in v.detach().reshape(-1).tolist()] if v.dim() else float('%.9g' % v.item())
    if isinstance(v, dict): return {k: conv(z) for k, z in v.items()}
    return v
print(json.dumps(conv(out)))
