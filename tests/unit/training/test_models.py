"""Networks by the type of their size, their outputs, and what a checkpoint remembers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from livemos.agent.errors import ConfigError
from livemos.training import checkpoint, models
from livemos.training.evaluate import macro_f1
from livemos.training.models.base import CAUSE_OUTPUTS, FIRST_CAUSE, OUTPUTS
from livemos.training.models.conformer import ConformerSize
from livemos.training.models.residual import ResidualSize
from livemos.training.objectives import LEARNED_TERMS, TaskWeights, make_task_weights

SIZES: list[models.Size] = [
    ConformerSize(stem_channels=4, width=24, blocks=1, heads=2, feed_forward=32, head_width=16),
    ResidualSize(stem_channels=4, width=24, blocks=2, heads=2, head_width=16),
    ResidualSize(stem_channels=4, width=24, blocks=2, heads=0, head_width=16),
]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{models.network_of(size)}-{size.heads}")
def test_every_network_has_the_same_outputs_and_comes_back_from_its_file(size: models.Size, tmp_path: Path) -> None:
    """The exporter and the agent know outputs, not networks."""
    torch.manual_seed(0)
    model = models.build(size, torch.zeros(64), torch.ones(64)).eval()
    features = torch.randn(3, 98, 64)
    with torch.no_grad():
        outputs = model(features)
    assert outputs.shape == (3, len(OUTPUTS))
    np.testing.assert_allclose(outputs[:, FIRST_CAUSE:].sum(dim=1).numpy(), 1.0, atol=1e-5)
    assert outputs[:, :5].min() >= 1.0
    assert outputs[:, :5].max() <= 5.0
    checkpoint.save_model(tmp_path / "model.pt", model, size, {"steps": 1})
    again, facts = checkpoint.load_model(tmp_path / "model.pt")
    assert facts == {"steps": 1}
    with torch.no_grad():
        np.testing.assert_array_equal(again(features).numpy(), outputs.numpy())


def test_a_checkpoint_of_an_unknown_network_is_refused() -> None:
    """A file of a later version says so, and is not half understood."""
    with pytest.raises(ConfigError, match="'transformer' is unknown; this version has conformer, residual"):
        models.size_from_facts({"network": "transformer"})


def test_learned_weights_lower_what_is_hard_and_stay_bounded() -> None:
    """exp(-s) t / 2 + s / 2 is least at s = ln t: each task ends up with the weight of its own noise."""
    weights = make_task_weights(learned=True)
    assert isinstance(weights, TaskWeights)
    assert make_task_weights(learned=False) is None
    terms = {name: torch.tensor(0.1 * 2.0**k) for k, name in enumerate(LEARNED_TERMS)}
    optimizer = torch.optim.SGD(weights.parameters(), lr=0.2)
    for _ in range(400):
        optimizer.zero_grad()
        total = weights(terms)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    wanted = np.log([0.1 * 2.0**k for k in range(len(LEARNED_TERMS))])
    np.testing.assert_allclose(weights.log_variance.detach().numpy(), wanted, atol=0.02)
    extra = terms | {"likelihood": torch.tensor(7.0)}
    assert (weights(extra) - weights(terms)).item() == pytest.approx(7.0)


def test_macro_f1_counts_rare_causes_like_common_ones() -> None:
    """A model that always says the commonest cause is not right nine times out of ten."""
    true = np.array([0] * 9 + [1])
    assert macro_f1(true, true) == 1.0
    assert macro_f1(np.zeros(10), true) == pytest.approx(0.5 * (18 / 19))
    assert len(CAUSE_OUTPUTS) == 9
