# Writes layers-pytorch.json (PyTorch 1.13, f64): python3 test/nn/layers-pytorch.py > test/nn/layers-pytorch.json
# Each case is a layer as `nn` calls it and the same module of PyTorch, their values sines, so that the test makes the same
# ones: parameters in order, input, and the cotangent of the output. Where there are running statistics, they are those
# behind two forward passes of x in training, and `evaluated` is the output in evaluation then.
import json
import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_default_dtype(torch.float64)


def fill(shape, phase, scale=0.6):
    n = math.prod(shape)
    return torch.tensor([math.sin(1.7 * i + phase) * scale for i in range(n)]).reshape(shape)


def rounded(t):
    values = [float('%.9g' % v) for v in t.detach().reshape(-1).tolist()]
    return values


def run(module, x, integer):
    for k, p in enumerate(module.parameters()):
        p.data = fill(list(p.shape), k)
    # Whatever is set in place when a module is made (the row of padding_idx) is part of what is compared.
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight.data[module.padding_idx] = 0
    if not integer:
        x.requires_grad_()
    y = module(x)
    (y * fill(list(y.shape), 2)).sum().backward()
    out = {
        'parameters': {name: list(p.shape) for name, p in module.named_parameters()},
        'shape': list(y.shape),
        'y': rounded(y),
        'dw': [rounded(p.grad) for p in module.parameters()],
    }
    if not integer:
        out['dx'] = rounded(x.grad)
    buffers = {name: b for name, b in module.named_buffers() if 'running' in name}
    if buffers:
        module(x)
        out['buffers'] = {name: rounded(b) for name, b in buffers.items()}
        module.eval()
        out['evaluated'] = rounded(module(x))
    return out


class Call(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


images, volumes, sequences = [2, 4, 5, 6], [2, 2, 3, 4, 3], [2, 4, 7]
# layer of nn, its arguments, the shape of x, PyTorch's module
layers = [
    ('linear', [3], [2, 3, 4], nn.Linear(4, 3)),
    ('linear', [3, {'bias': False}], [3, 4], nn.Linear(4, 3, bias=False)),
    ('conv1d', [6, {'kernel': 3, 'stride': 2, 'padding': 1, 'groups': 2}], sequences, nn.Conv1d(4, 6, 3, 2, 1, groups=2)),
    ('conv1d', [2, {'kernel': 4, 'padding': 'same', 'dilation': 3}], [1, 4, 11], nn.Conv1d(4, 2, 4, padding='same', dilation=3)),
    ('conv1d', [2, {'kernel': 3, 'padding': 2, 'paddingMode': 'circular'}], sequences, nn.Conv1d(4, 2, 3, padding=2, padding_mode='circular')),
    ('conv2d', [2, {'kernel': [3, 2], 'dilation': [1, 2], 'padding': [1, 0], 'bias': False}], images, nn.Conv2d(4, 2, (3, 2), dilation=(1, 2), padding=(1, 0), bias=False)),
    ('conv2d', [2, {'kernel': 3, 'padding': [1, 2], 'paddingMode': 'reflect', 'stride': 2}], images, nn.Conv2d(4, 2, 3, 2, (1, 2), padding_mode='reflect')),
    ('conv2d', [4, {'kernel': [2, 3], 'padding': 'same', 'paddingMode': 'replicate', 'groups': 4}], images, nn.Conv2d(4, 4, (2, 3), padding='same', padding_mode='replicate', groups=4)),
    ('conv2d', [2, {'kernel': 3, 'padding': 'valid'}], images, nn.Conv2d(4, 2, 3, padding='valid')),
    ('conv3d', [2, {'kernel': [2, 1, 3], 'padding': 1}], volumes, nn.Conv3d(2, 2, (2, 1, 3), padding=1)),
    ('convTranspose1d', [6, {'kernel': 3, 'stride': 2, 'padding': 1, 'outputPadding': 1, 'groups': 2}], [2, 4, 3], nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, groups=2)),
    ('convTranspose2d', [2, {'kernel': 2, 'stride': 2}], [1, 3, 2, 3], nn.ConvTranspose2d(3, 2, 2, 2)),
    ('convTranspose3d', [2, {'kernel': 2, 'dilation': 2, 'bias': False}], [1, 2, 2, 1, 2], nn.ConvTranspose3d(2, 2, 2, dilation=2, bias=False)),
    ('layerNorm', [], [2, 3, 4], nn.LayerNorm(4)),
    ('layerNorm', [{'normalizedShape': [3, 4], 'eps': 0.01}], [2, 3, 4], nn.LayerNorm([3, 4], eps=0.01)),
    ('layerNorm', [{'elementwiseAffine': False}], [3, 4], nn.LayerNorm(4, elementwise_affine=False)),
    ('batchNorm1d', [], [5, 3], nn.BatchNorm1d(3)),
    ('batchNorm1d', [{'momentum': 0.3, 'eps': 0.01}], [2, 3, 4], nn.BatchNorm1d(3, momentum=0.3, eps=0.01)),
    ('batchNorm2d', [], [2, 3, 2, 3], nn.BatchNorm2d(3)),
    ('batchNorm2d', [{'affine': False}], [2, 3, 2, 3], nn.BatchNorm2d(3, affine=False)),
    ('batchNorm3d', [{'trackRunningStats': False}], [2, 2, 2, 1, 3], nn.BatchNorm3d(2, track_running_stats=False)),
    ('groupNorm', [2], [2, 4, 2, 3], nn.GroupNorm(2, 4)),
    ('groupNorm', [1, {'affine': False, 'eps': 0.1}], [2, 3, 4], nn.GroupNorm(1, 3, affine=False, eps=0.1)),
    ('instanceNorm1d', [], [2, 3, 4], nn.InstanceNorm1d(3)),
    ('instanceNorm2d', [{'affine': True}], [2, 2, 2, 3], nn.InstanceNorm2d(2, affine=True)),
    ('instanceNorm2d', [{'trackRunningStats': True, 'momentum': 0.4}], [3, 2, 2, 3], nn.InstanceNorm2d(2, track_running_stats=True, momentum=0.4)),
    ('instanceNorm3d', [], [1, 2, 2, 1, 3], nn.InstanceNorm3d(2)),
    ('avgPool1d', [{'kernel': 3, 'stride': 2, 'padding': 1}], sequences, nn.AvgPool1d(3, 2, 1)),
    ('avgPool2d', [{'kernel': [3, 2], 'padding': 1, 'ceilMode': True, 'countIncludePad': False}], images, nn.AvgPool2d((3, 2), padding=1, ceil_mode=True, count_include_pad=False)),
    ('avgPool3d', [{'kernel': 2}], [1, 2, 2, 4, 3], nn.AvgPool3d(2)),
    ('maxPool1d', [{'kernel': 3, 'dilation': 2}], sequences, nn.MaxPool1d(3, dilation=2)),
    ('maxPool2d', [{'kernel': 3, 'stride': 2, 'padding': 1, 'ceilMode': True}], images, nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    ('maxPool3d', [{'kernel': 2, 'stride': 1}], [1, 2, 2, 3, 3], nn.MaxPool3d(2, 1)),
    ('adaptiveAvgPool1d', [3], sequences, nn.AdaptiveAvgPool1d(3)),
    ('adaptiveAvgPool2d', [[3, 2]], images, nn.AdaptiveAvgPool2d((3, 2))),
    ('adaptiveAvgPool3d', [[2, 1, 2]], [1, 2, 3, 2, 5], nn.AdaptiveAvgPool3d((2, 1, 2))),
    ('adaptiveMaxPool1d', [4], sequences, nn.AdaptiveMaxPool1d(4)),
    ('adaptiveMaxPool2d', [[2, 4]], images, nn.AdaptiveMaxPool2d((2, 4))),
    ('adaptiveMaxPool3d', [2], [1, 2, 3, 2, 5], nn.AdaptiveMaxPool3d(2)),
    ('upsample', [{'scaleFactor': 2}], [1, 2, 3, 2], nn.Upsample(scale_factor=2)),
    ('upsample', [{'size': [4, 7]}], [1, 2, 3, 4], nn.Upsample(size=(4, 7))),
    ('upsample', [{'size': [4, 7], 'mode': 'nearestExact'}], [1, 2, 3, 4], nn.Upsample(size=(4, 7), mode='nearest-exact')),
    ('upsample', [{'scaleFactor': 1.5, 'mode': 'linear'}], [2, 2, 5], nn.Upsample(scale_factor=1.5, mode='linear')),
    ('upsample', [{'scaleFactor': 2, 'mode': 'bilinear'}], [1, 2, 3, 2], nn.Upsample(scale_factor=2, mode='bilinear')),
    ('upsample', [{'size': [5, 2], 'mode': 'bilinear', 'alignCorners': True}], [1, 2, 3, 4], nn.Upsample(size=(5, 2), mode='bilinear', align_corners=True)),
    ('upsample', [{'scaleFactor': [1.7, 0.7], 'mode': 'bilinear', 'alignCorners': True}], [1, 2, 3, 4], nn.Upsample(scale_factor=(1.7, 0.7), mode='bilinear', align_corners=True)),
    ('upsample', [{'size': [2, 5], 'mode': 'bicubic'}], [1, 2, 4, 3], nn.Upsample(size=(2, 5), mode='bicubic')),
    ('upsample', [{'size': [3, 2, 4], 'mode': 'trilinear'}], [1, 1, 2, 3, 2], nn.Upsample(size=(3, 2, 4), mode='trilinear')),
    ('pixelShuffle', [2], [1, 4, 2, 3], nn.PixelShuffle(2)),
    ('pixelUnshuffle', [2], [1, 2, 2, 4], nn.PixelUnshuffle(2)),
    ('flatten', [], [2, 3, 4], nn.Flatten()),
    ('prelu', [], [2, 3, 4], nn.PReLU()),
    ('prelu', [{'numParameters': 3}], [2, 3, 4], nn.PReLU(3)),
    ('glu', [{'axis': 1}], [2, 4, 3], nn.GLU(1)),
    ('softmax', [{'axis': 1}], [2, 3, 4], nn.Softmax(1)),
    ('logSoftmax', [], [2, 4], nn.LogSoftmax(-1)),
    ('softmin', [], [2, 4], nn.Softmin(-1)),
    ('leakyRelu', [{'negativeSlope': 0.2}], [12], nn.LeakyReLU(0.2)),
    ('gelu', [{'approximate': 'tanh'}], [12], nn.GELU('tanh')),
    ('hardtanh', [{'minVal': -2, 'maxVal': 0.5}], [12], nn.Hardtanh(-2, 0.5)),
    ('celu', [{'alpha': 0.7}], [12], nn.CELU(0.7)),
    ('elu', [{'alpha': 0.7}], [12], nn.ELU(0.7)),
] + [
    (name, [], [24], module)
    for name, module in [
        ('relu', nn.ReLU()), ('leakyRelu', nn.LeakyReLU()), ('elu', nn.ELU()), ('selu', nn.SELU()), ('celu', nn.CELU()),
        ('gelu', nn.GELU()), ('silu', nn.SiLU()), ('mish', nn.Mish()), ('softplus', nn.Softplus()), ('softsign', nn.Softsign()),
        ('hardtanh', nn.Hardtanh()), ('hardsigmoid', nn.Hardsigmoid()), ('hardswish', nn.Hardswish()), ('relu6', nn.ReLU6()),
        ('sigmoid', nn.Sigmoid()), ('logSigmoid', nn.LogSigmoid()), ('tanh', nn.Tanh()), ('tanhshrink', nn.Tanhshrink()),
    ]
]
indices = [[3, 0, 2], [2, 5, 3]]
embeddings = [
    ('embedding', [{'rows': 6, 'dim': 3}], nn.Embedding(6, 3)),
    ('embedding', [{'rows': 6, 'dim': 3, 'paddingIdx': 2}], nn.Embedding(6, 3, padding_idx=2)),
    ('embedding', [{'rows': 6, 'dim': 3, 'paddingIdx': -3}], nn.Embedding(6, 3, padding_idx=-3)),
]

# Wide enough for both bends of every activation.
scale = 7
cases = []
for name, arguments, shape, module in layers:
    x = fill(shape, 0.5, scale)
    cases.append({'layer': name, 'arguments': arguments, 'x': shape, **run(module, x, False)})
for name, arguments, module in embeddings:
    cases.append({'layer': name, 'arguments': arguments, 'indices': indices, **run(module, torch.tensor(indices), True)})


# Ready models. Modules as torchvision's resnet.py names them.
def convolution(inside, out, kernel, stride, norm):
    return nn.Conv2d(inside, out, kernel, stride, kernel // 2, bias=norm is None)


def normalizer(norm, width):
    return {'batch': nn.BatchNorm2d, 'group': lambda w: nn.GroupNorm(2, w)}[norm](width)


class Block(nn.Module):
    def __init__(self, inside, width, stride, norm, deep):
        super().__init__()
        out = 4 * width if deep else width
        plan = [(width, 1, 1), (width, 3, stride), (out, 1, 1)] if deep else [(width, 3, stride), (width, 3, 1)]
        self.count = len(plan)
        at = inside
        for i, (to, kernel, s) in enumerate(plan, 1):
            setattr(self, f'conv{i}', convolution(at, to, kernel, s, norm))
            if norm:
                setattr(self, f'bn{i}', normalizer(norm, to))
            at = to
        self.downsample = None
        if stride != 1 or inside != out:
            parts = [convolution(inside, out, 1, stride, norm)] + ([normalizer(norm, out)] if norm else [])
            self.downsample = nn.Sequential(*parts)

    def forward(self, x):
        h = x
        for i in range(1, self.count + 1):
            h = getattr(self, f'conv{i}')(h)
            h = getattr(self, f'bn{i}', nn.Identity())(h)
            if i < self.count:
                h = F.relu(h)
        return F.relu(h + (self.downsample(x) if self.downsample else x))


class ResNet(nn.Module):
    def __init__(self, channels, classes, widths, blocks, norm='batch', deep=False, large=False):
        super().__init__()
        self.large = large
        self.conv1 = nn.Conv2d(channels, widths[0], 7, 2, 3, bias=norm is None) if large else convolution(channels, widths[0], 3, 1, norm)
        if norm:
            self.bn1 = normalizer(norm, widths[0])
        at = widths[0]
        self.stages = []
        for s, (width, count) in enumerate(zip(widths, blocks)):
            parts = []
            for i in range(count):
                parts.append(Block(at, width, 2 if s > 0 and i == 0 else 1, norm, deep))
                at = 4 * width if deep else width
            stage = nn.Sequential(*parts)
            setattr(self, f'layer{s + 1}', stage)
        self.count = len(widths)
        self.fc = nn.Linear(at, classes)

    def forward(self, x):
        h = F.relu(getattr(self, 'bn1', nn.Identity())(self.conv1(x)))
        if self.large:
            h = F.max_pool2d(h, 3, 2, 1)
        for s in range(self.count):
            h = getattr(self, f'layer{s + 1}')(h)
        return self.fc(h.mean((2, 3)))


class Level(nn.Module):
    def __init__(self, inside, width, norm, transposed_from=None):
        super().__init__()
        self.up = transposed_from
        for i, at in ((1, inside), (2, width)):
            setattr(self, f'conv{i}', nn.Conv2d(at, width, 3, 1, 1, bias=norm is None))
            if norm:
                setattr(self, f'norm{i}', normalizer(norm, width))

    def forward(self, x, skip=None, mode=None):
        if self.up:
            big = x if mode is None else F.interpolate(x, scale_factor=2, mode=mode)
            x = torch.cat([skip, self.up(big)], 1)
        for i in (1, 2):
            x = F.relu(getattr(self, f'norm{i}', nn.Identity())(getattr(self, f'conv{i}')(x)))
        return x


class UNet(nn.Module):
    def __init__(self, channels, classes, depth, width, norm='batch', mode=None):
        super().__init__()
        self.mode = mode
        self.down = nn.ModuleList([Level(channels if i == 0 else width * 2 ** (i - 1), width * 2**i, norm) for i in range(depth)])
        self.bottom = Level(width * 2 ** (depth - 1), width * 2**depth, norm)
        # Ours lie in the order in which they run: the deepest first, under the number of their level.
        ups = {}
        for i in reversed(range(depth)):
            w = width * 2**i
            up = nn.ConvTranspose2d(2 * w, w, 2, 2) if mode is None else nn.Conv2d(2 * w, w, 3, 1, 1)
            ups[str(i)] = Level(2 * w, w, norm, up)
        self.up = nn.ModuleDict(ups)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = []
        for level in self.down:
            skips.append(level(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.bottom(x)
        for i in reversed(range(len(skips))):
            x = self.up[str(i)](x, skips[i], self.mode)
        return self.head(x).permute(0, 2, 3, 1)


models = [
    ({'kind': 'resnet', 'channels': 2, 'size': [6, 5], 'classes': 3, 'widths': [2, 4], 'blocks': [1, 2]}, ResNet(2, 3, [2, 4], [1, 2])),
    ({'kind': 'resnet', 'channels': 1, 'size': 9, 'classes': 2, 'widths': [2, 2], 'blocks': 1, 'block': 'bottleneck', 'norm': 'group', 'groups': 2, 'stem': 'imagenet'},
     ResNet(1, 2, [2, 2], [1, 1], 'group', True, True)),
    ({'kind': 'resnet', 'channels': 1, 'size': 4, 'classes': 2, 'widths': [3], 'blocks': 1, 'norm': 'none'}, ResNet(1, 2, [3], [1], None)),
    ({'kind': 'unet', 'channels': 1, 'size': [4, 8], 'classes': 3, 'depth': 2, 'width': 2}, UNet(1, 3, 2, 2)),
    ({'kind': 'unet', 'channels': 2, 'size': 4, 'classes': 2, 'depth': 1, 'width': 2, 'norm': 'group', 'groups': 2, 'upsampling': 'nearest'}, UNet(2, 2, 1, 2, 'group', 'nearest')),
    ({'kind': 'unet', 'channels': 1, 'size': 4, 'classes': 2, 'depth': 1, 'width': 2, 'norm': 'none', 'upsampling': 'bilinear'}, UNet(1, 2, 1, 2, None, 'bilinear')),
]
for config, module in models:
    size = config['size'] if isinstance(config['size'], list) else [config['size']] * 2
    found = run(module, fill([3, config['channels'], *size], 0.5, 1.5), False)
    # One number for each parameter's gradient keeps the file small.
    found['dw'] = [float('%.9g' % (sum(abs(v) for v in g) + g[0])) for g in found['dw']]
    cases.append({'model': config, **found})
print('[\n' + ',\n'.join(json.dumps(c) for c in cases) + '\n]')
