# Writes attention-pytorch.json (PyTorch 1.13, f64): python3 test/nn/attention-pytorch.py > test/nn/attention-pytorch.json
# Attention and transformer layers with their masks; values are sines, so that the test makes the same ones.
import torch, math, json
torch.set_default_dtype(torch.float64)
N, T, S, D, H = 2, 3, 4, 8, 2

def fill(shape, phase):
    n = math.prod(shape)
    return torch.tensor([math.sin(1.7 * i + phase) * 0.6 for i in range(n)]).reshape(shape)

def mask(*rows):
    return torch.tensor(rows).bool()

causal = torch.triu(torch.ones(T, T), 1).bool()
own, cross = mask([0, 1, 0], [0, 0, 1], [1, 0, 0]), mask([0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1])
# The second sample's last key is padding, and the first sample's first of the memory.
pad_own, pad_memory = mask([0, 0, 0], [0, 0, 1]), mask([1, 0, 0, 0], [0, 0, 1, 1])
by_head = torch.stack([own if i % 2 == 0 else causal for i in range(N * H)])

def result(module, inputs, forward):
    for k, (_, p) in enumerate(module.named_parameters()):
        p.data = fill(list(p.shape), k)
    for x in inputs.values(): x.requires_grad_()
    y = forward(module)
    (y * fill(list(y.shape), 2)).sum().backward()
    return {
        'names': [n for n, _ in module.named_parameters()],
        'output': y,
        'inputs': {n: x.grad for n, x in inputs.items()},
        'dw': [p.grad.abs().sum() + p.grad.reshape(-1)[0] for _, p in module.named_parameters()],
    }

out = {}

def attention(name, key=None, value=None, bias=True, kdim=None, vdim=None, **masks):
    x = {'query': fill([N, T, D], 0.5)}
    if key: x['key'] = fill([N, S, key], 0.25)
    if value: x['value'] = fill([N, S, value], 0.75)
    m = torch.nn.MultiheadAttention(D, H, bias=bias, kdim=kdim, vdim=vdim, batch_first=True)
    k = x.get('key', x['query'])
    out[name] = result(m, x, lambda m: m(x['query'], k, x.get('value', k), **masks)[0])

attention('self')
attention('self, causal', attn_mask=causal)
attention('self, bool mask', attn_mask=own)
attention('self, mask by head', attn_mask=by_head)
attention('self, padding', key_padding_mask=pad_own)
attention('self, causal and padding', attn_mask=causal, key_padding_mask=pad_own)
attention('self, added mask', attn_mask=fill([T, T], 1).masked_fill(own, -math.inf))
attention('self, without bias', bias=False)
attention('cross', key=D)
attention('cross, masked', key=D, attn_mask=cross, key_padding_mask=pad_memory)
attention('key and value', key=D, value=D)
attention('other widths', key=6, value=5, kdim=6, vdim=5, attn_mask=cross)
attention('other widths without bias', key=6, value=5, kdim=6, vdim=5, bias=False)

common = dict(dim_feedforward=12, dropout=0.0, batch_first=True)
encoder = lambda **o: torch.nn.TransformerEncoderLayer(D, H, **common, **o)
decoder = lambda **o: torch.nn.TransformerDecoderLayer(D, H, **common, **o)

def layers(name, module, call, memory=False):
    x = {'x': fill([N, T, D], 0.5)}
    if memory: x['memory'] = fill([N, S, D], 0.25)
    out[name] = result(module, x, lambda m: call(m, *x.values()))

layers('encoder layer', encoder(), lambda m, x: m(x))
layers('encoder layer, norm first', encoder(norm_first=True, activation='gelu', layer_norm_eps=1e-3),
       lambda m, x: m(x, src_mask=own, src_key_padding_mask=pad_own))
layers('encoder', torch.nn.TransformerEncoder(encoder(norm_first=True), 2, torch.nn.LayerNorm(D)),
       lambda m, x: m(x, mask=causal))
layers('decoder layer', decoder(), lambda m, x, y: m(x, y), memory=True)
layers('decoder layer, norm first', decoder(norm_first=True, activation='gelu'),
       lambda m, x, y: m(x, y, tgt_mask=causal, memory_mask=cross, tgt_key_padding_mask=pad_own,
                         memory_key_padding_mask=pad_memory), memory=True)
layers('decoder', torch.nn.TransformerDecoder(decoder(), 2),
       lambda m, x, y: m(x, y, tgt_mask=causal, memory_key_padding_mask=pad_memory), memory=True)

def conv(v):
    if isinstance(v, torch.Tensor):
        return [float('%.12g' % z) for z in v.detach().reshape(-1).tolist()] if v.dim() else float('%.12g' % v.item())
    if isinstance(v, dict): return {k: conv(z) for k, z in v.items()}
    if isinstance(v, list): return [conv(z) for z in v]
    return v

print('{\n' + ',\n'.join('%s: %s' % (json.dumps(k), json.dumps(conv(v))) for k, v in out.items()) + '\n}')
