"""A training step of `ilcm-vae` beside that of a loop over interventions and variables, at equal size and batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

import torch

from benchmarks.problems import draw, linear
from benchmarks.reference_style import BATCH_SIZE, HIDDEN, ReferenceStyleModel, Training
from benchmarks.row import Label, Plan, Row, repeated
from benchmarks.training import Stage
from lcm.data.pairs import PairData
from lcm.learn.prepared import prepare
from lcm.model.intervention import TargetDistribution
from lcm.peer.implicit import ImplicitVAEConfig
from lcm.peer.implicit.fit import ImplicitVAEObjective, new_implicit_vae
from lcm.peer.implicit.vae import ImplicitVAE

SUITE = "implicit"
_PAIRS = 20_000
_VARIANCE_X = 0.01


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """One case for each number of variables."""
    return {f"n = {n}": partial(_case, n, plan) for n in ((4,) if plan.quick else (4, 10))}


def _case(n: int, plan: Plan) -> list[Row]:
    data = draw(linear(n), 2_000 if plan.quick else _PAIRS, plan.seed, test_pairs=100).train
    training = Training(data.x, data.x_tilde, plan.seed)
    seconds = 0.5 if plan.quick else 3.0

    def step() -> float:
        losses, spent = training.run(seconds)
        return spent / len(losses)

    theirs = repeated(step, plan)
    stage = implicit_stage(data, plan.seed)
    steps = max(5, int(seconds / stage.seconds(20)))
    ours = repeated(lambda: stage.seconds(steps), plan)
    label = Label(SUITE, f"n = {n}, batch {BATCH_SIZE}")
    return [
        label.row("reference style: steps", "steps/s", [1.0 / value for value in theirs]),
        label.row("ilcm-vae: steps", "steps/s", [1.0 / value for value in ours]),
        label.row("steps per second, ilcm-vae over reference style", "×", [median(theirs) / value for value in ours]),
    ]


def implicit_stage(data: PairData, seed: int) -> Stage:
    """Steps of the model in the setting of the loop, from the first phase that has all parts of the bound."""
    targets = TargetDistribution.family(data.x.shape[1], "atomic-or-empty")
    prepared = prepare(data.x, data.x_tilde, targets.n, 0.1, seed, torch.device("cpu"))
    shares = dict.fromkeys(("pretrain_share", "beta_from", "beta_until", "impose_from"), 0.0)
    config = ImplicitVAEConfig(
        hidden=HIDDEN, activation="relu", start="random", variance=_VARIANCE_X, batch_size=BATCH_SIZE, **shares
    )
    model = new_implicit_vae(prepared, targets, config)
    generator = torch.Generator().manual_seed(seed)
    model.draw_weights(generator)
    return Stage("implicit", (ImplicitVAEObjective(model, prepared, config, generator),), BATCH_SIZE)


@torch.no_grad()
def copy_weights(reference: ReferenceStyleModel, model: ImplicitVAE) -> None:
    """Give a model with ReLU networks, the average projection and a fixed variance the weights of the loop's model."""
    n = model.n
    for network, ours in ((reference.encoder, model.encoder), (reference.decoder, model.decoder)):
        for layer, weight, bias in zip(network[::2], ours.weights, ours.biases, strict=True):
            weight.copy_(layer.weight)
            bias.copy_(layer.bias)
    model.posterior.get_parameter("scalars").copy_(reference.posterior)
    for i, network in enumerate(reference.solution):
        others = [j for j in range(n) if j != i]
        for index, layer in enumerate(network[::2]):
            columns = others if index == 0 else slice(None)
            model.solution.networks.weights[index][i][:, columns] = layer.weight
            model.solution.networks.biases[index][i, 0] = layer.bias
