"""Makes pytorch.json: parameters and optimizer state after six steps of torch.optim in f64, for every option of every
optimizer, with norm clipping and with OneCycleLR; and OneCycleLR's rates and momenta by themselves.

    python3 test/optim/pytorch.py > test/optim/pytorch.json      # PyTorch 1.13; then: npx biome format --write

The gradients of `w` and `free` are given, the rate changes at every step, and `free` is in a group without weight decay
(`noDecay`). Options are written as an experiment writes them; the script turns them into PyTorch's.
"""
import inspect
import json
import re

import torch

torch.set_default_dtype(torch.float64)
STEPS, SIZE = 6, 5
seed = 7


def draw(scale):
    """f32 values of a 32-bit linear congruential generator: the same on every machine and in every version."""
    global seed
    values = []
    for _ in range(SIZE):
        seed = (seed * 1664525 + 1013904223) % 2**32
        values.append(scale * (seed / 2**31 - 1))
    return torch.tensor(values, dtype=torch.float32).tolist()


start = {"w": draw(1), "free": draw(1)}
# Sizes that differ from step to step: the largest second moment is not the last, and some norms are clipped, some not.
gradients = [{"w": draw(s), "free": draw(s)} for s in (1.5, 0.4, 2.5, 0.1, 0.6, 0.3)]
rates = [0.1, 0.2, 0.05, 0.1, 0.15, 0.05]

KINDS = {
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
# Our names of the state tensors.
STATE = {
    "sgd": {"momentum_buffer": "momentum"},
    "adagrad": {"sum": "sum"},
    "adadelta": {"square_avg": "squareAvg", "acc_delta": "accDelta"},
    "rmsprop": {"square_avg": "squareAvg", "grad_avg": "gradAvg", "momentum_buffer": "momentum"},
    "adam": {"exp_avg": "m", "exp_avg_sq": "v", "max_exp_avg_sq": "vmax"},
}
STATE["adamw"] = STATE["adam"]

snake = lambda name: re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name)
pythonic = lambda config: {snake(k): v for k, v in config.items() if k != "kind"}


def optimizer_of(config, parameters):
    groups = [{"params": [parameters["w"]]}, {"params": [parameters["free"]], "weight_decay": 0}]
    options = pythonic(config)
    options.setdefault("lr", 0.1)  # SGD of this version has no default; every step sets its own anyway
    return KINDS[config["kind"]](groups, **options)


def one_cycle(optimizer, config):
    options = pythonic(config)
    if "anneal" in options:
        options["anneal_strategy"] = options.pop("anneal")
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, **options)


def run(config, clip=None, learning_rate=None, gradient_scale=1):
    parameters = {name: torch.nn.Parameter(torch.tensor(values)) for name, values in start.items()}
    optimizer = optimizer_of(config, parameters)
    own_rates = learning_rate["values"] if learning_rate and learning_rate["kind"] == "values" else rates
    scheduler = learning_rate and own_rates is rates and one_cycle(optimizer, learning_rate)
    factors = []
    for step in range(STEPS):
        for name, p in parameters.items():
            p.grad = gradient_scale * torch.tensor(gradients[step][name])
        if clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(parameters.values(), clip)
            factors.append(min(1, clip / (norm.item() + 1e-6)))
        if not scheduler:
            for group in optimizer.param_groups:
                group["lr"] = own_rates[step]
        optimizer.step()
        if scheduler:
            scheduler.step()
    final = {name: p.tolist() for name, p in parameters.items()}
    for theirs, ours in STATE[config["kind"]].items():
        for name, p in parameters.items():
            value = optimizer.state[p].get(theirs)
            if value is not None:
                final[f"{ours}/{name}"] = value.tolist()
    case = {"optimizer": config}
    if clip is not None:
        assert any(f < 1 for f in factors) and any(f == 1 for f in factors), factors
        case["clip"] = {"globalNorm": clip}
    if learning_rate is not None:
        case["learningRate"] = learning_rate
    if gradient_scale != 1:
        case["gradientScale"] = gradient_scale
    return {**case, "final": final}


CYCLE = {"kind": "oneCycle", "maxLr": 0.2, "totalSteps": STEPS}
CASES = [
    run({"kind": "sgd"}),
    run({"kind": "sgd", "weightDecay": 0.3}),
    run({"kind": "sgd", "momentum": 0.8}),
    run({"kind": "sgd", "momentum": 0.8, "dampening": 0.4}),
    run({"kind": "sgd", "momentum": 0.8, "dampening": 0.4, "weightDecay": 0.3}),
    run({"kind": "sgd", "momentum": 0.8, "nesterov": True, "weightDecay": 0.3}),
    run({"kind": "adagrad"}),
    run({"kind": "adagrad", "lrDecay": 0.3}),
    run({"kind": "adagrad", "eps": 0.1, "weightDecay": 0.3}),
    run({"kind": "adagrad", "initialAccumulatorValue": 0.4, "eps": 0.05, "lrDecay": 0.1}),
    run({"kind": "adadelta"}),
    run({"kind": "adadelta", "rho": 0.6, "eps": 0.05}),
    run({"kind": "adadelta", "rho": 0.7, "eps": 0.01, "weightDecay": 0.3}),
    run({"kind": "rmsprop"}),
    run({"kind": "rmsprop", "alpha": 0.7, "eps": 0.1}),
    run({"kind": "rmsprop", "alpha": 0.7, "eps": 0.05, "weightDecay": 0.3}),
    run({"kind": "rmsprop", "alpha": 0.7, "eps": 0.05, "momentum": 0.6}),
    run({"kind": "rmsprop", "alpha": 0.7, "eps": 0.05, "centered": True}),
    run({"kind": "rmsprop", "alpha": 0.6, "eps": 0.1, "centered": True, "momentum": 0.5, "weightDecay": 0.2}),
    run({"kind": "adam"}),
    run({"kind": "adam", "eps": 0.05}),
    run({"kind": "adam", "betas": [0.5, 0.6]}),
    run({"kind": "adam", "betas": [0.7, 0.9], "eps": 0.05, "weightDecay": 0.3}),
    run({"kind": "adam", "betas": [0.5, 0.6], "amsgrad": True}),
    run({"kind": "adam", "betas": [0.5, 0.6], "amsgrad": True, "weightDecay": 0.3}),
    run({"kind": "adamw"}),
    run({"kind": "adamw", "betas": [0.7, 0.9], "eps": 0.05, "weightDecay": 0.3}),
    run({"kind": "adamw", "betas": [0.5, 0.6], "amsgrad": True, "weightDecay": 0.3}),
    # Weight decay comes on top of the clipped gradient.
    *(
        run({"weightDecay": 0.3, **config}, clip=1)
        for config in (
            {"kind": "sgd", "momentum": 0.8},
            {"kind": "adagrad", "eps": 0.05},
            {"kind": "adadelta", "rho": 0.6, "eps": 0.05},
            {"kind": "rmsprop", "alpha": 0.7, "eps": 0.05, "momentum": 0.5},
            {"kind": "adam", "betas": [0.7, 0.9], "eps": 0.05},
            {"kind": "adamw", "betas": [0.7, 0.9], "eps": 0.05},
        )
    ),
    # Norms near the 1e-6 that is added to them.
    run({"kind": "sgd"}, 2e-6, {"kind": "values", "values": [1e5] * STEPS}, 2**-20),
    # The rule of the rate sets momentum and beta1, also where the optimizer's own momentum is 0.
    run({"kind": "sgd"}, learning_rate=CYCLE),
    run({"kind": "sgd", "momentum": 0.5, "nesterov": True}, learning_rate={**CYCLE, "anneal": "linear"}),
    run({"kind": "sgd", "momentum": 0.5, "dampening": 0.3}, learning_rate={**CYCLE, "cycleMomentum": False}),
    run({"kind": "rmsprop", "alpha": 0.7, "eps": 0.05}, learning_rate={**CYCLE, "baseMomentum": 0.5}),
    run({"kind": "adam", "eps": 0.05}, clip=1, learning_rate={**CYCLE, "pctStart": 0.5, "maxMomentum": 0.99}),
    run({"kind": "adamw"}, learning_rate={**CYCLE, "divFactor": 4, "finalDivFactor": 10}),
    run({"kind": "adagrad"}, learning_rate={**CYCLE, "cycleMomentum": False}),
    run({"kind": "adadelta"}, learning_rate={**CYCLE, "cycleMomentum": False}),
]


def cycle(config):
    config = {"kind": "oneCycle", **config}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1, momentum=0.5)
    scheduler = one_cycle(optimizer, config)
    lr, momentum = [], []
    for _ in range(config["totalSteps"]):
        group = optimizer.param_groups[0]
        lr.append(group["lr"])
        momentum.append(group["momentum"])
        optimizer.step()
        # With pctStart 1 what follows the last step divides by zero; with the others it is a rate that none takes.
        if len(lr) < config["totalSteps"]:
            scheduler.step()
    return {"learningRate": config, "lr": lr, "momentum": momentum}


CYCLES = [
    cycle({"maxLr": 0.1, "totalSteps": 10}),
    cycle({"maxLr": 0.3, "totalSteps": 11, "anneal": "linear"}),
    cycle({"maxLr": 2, "totalSteps": 17, "pctStart": 0.25, "divFactor": 10, "finalDivFactor": 100}),
    cycle({"maxLr": 1, "totalSteps": 9, "baseMomentum": 0.6, "maxMomentum": 0.8}),
    cycle({"maxLr": 1, "totalSteps": 6, "pctStart": 0.0}),
    cycle({"maxLr": 1, "totalSteps": 6, "pctStart": 1.0, "anneal": "linear"}),
    cycle({"maxLr": 1, "totalSteps": 5, "pctStart": 0.1}),
    cycle({"maxLr": 1, "totalSteps": 1}),
]

data = {"made": f"torch {torch.__version__}, f64", "start": start, "gradients": gradients, "rates": rates}
# What the constructors take where nothing is given.
DEFAULTS = {
    kind: {
        name: p.default
        for name, p in inspect.signature(optimizer.__init__).parameters.items()
        if isinstance(p.default, (int, float, tuple)) and name not in ("maximize", "differentiable", "capturable", "fused")
    }
    for kind, optimizer in KINDS.items()
}
camel = lambda name: re.sub("_(.)", lambda m: m[1].upper(), name)
data["defaults"] = {kind: {camel(k): v for k, v in options.items()} for kind, options in DEFAULTS.items()}
data["cases"] = CASES
data["cycles"] = CYCLES
print("{")
lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in data.items() if not isinstance(v, list) or k == "rates"]
for key in ("gradients", "cases", "cycles"):
    lines.append(f"{json.dumps(key)}: [\n" + ",\n".join(json.dumps(v) for v in data[key]) + "\n]")
print(",\n".join(lines))
print("}")
