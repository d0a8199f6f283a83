from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from skdisentangle.encoders.networks import build_body, seeded
from skdisentangle.encoders.scalers import ComponentScaler, Encoder, InputScaler

OPTIONS = {
    "n_features": 12,
    "n_components": 3,
    "hidden_layer_sizes": [5],
    "input_shape": (1, 1, 12),
    "seed": 0,
}


@pytest.mark.parametrize("encoder", ["linear", "mlp", "conv"])
def test_same_seed_same_body(encoder):
    first = build_body(encoder, **OPTIONS).state_dict()
    again = build_body(encoder, **OPTIONS).state_dict()
    other = build_body(encoder, **{**OPTIONS, "seed": 1}).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize(
    "encoder", ["linear", "mlp", "conv", lambda n: torch.nn.Linear(n, 3)]
)
def test_global_generator_is_not_touched(encoder):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    build_body(encoder, **OPTIONS)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 12),
        (3, 2, 2),
        (1, 12, 1),
        (1, 32, 32),
        (3, 9, 5),
        (1, 64, 3),
        (2, 33, 47),
    ],
)
def test_conv_takes_any_shape(shape):
    n_features = int(np.prod(shape))
    body = build_body(
        "conv", **{**OPTIONS, "n_features": n_features, "input_shape": shape}
    )
    assert body(torch.zeros(2, n_features)).shape == (2, 3)


def test_conv_sees_every_pixel_and_each_image_by_itself():
    shape = (1, 37, 50)
    body = build_body(
        "conv", **{**OPTIONS, "n_features": 37 * 50, "input_shape": shape}
    )
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 37 * 50, generator=generator, requires_grad=True)
    out = body(rows)
    out[0].square().sum().backward()
    assert torch.all(rows.grad[0] != 0)
    assert not rows.grad[1:].any()
    assert torch.allclose(body(rows[:1]), out[:1], atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 64])
def test_conv_of_any_width_tells_rows_apart(width):
    body = build_body(
        "conv",
        **{
            **OPTIONS,
            "n_features": 64,
            "hidden_layer_sizes": [width],
            "input_shape": (1, 8, 8),
        },
    )
    generator = torch.Generator().manual_seed(0)
    out = body(torch.randn(20, 64, generator=generator))
    assert len(torch.unique(out[:, 0])) > 5


@pytest.mark.parametrize("shape", [(1, 2, 5), (12,), (1, 12)])
def test_wrong_input_shape(shape):
    with pytest.raises(ValueError, match=r"C \* H \* W = 12"):
        build_body("conv", **{**OPTIONS, "input_shape": shape})


def test_a_module_is_copied_with_its_weights():
    module = torch.nn.Linear(12, 3)
    body = build_body(module, **OPTIONS)
    assert body is not module
    assert torch.equal(body.weight, module.weight)


def test_a_factory_may_ask_for_the_width():
    def with_width(n_features, n_components):
        return torch.nn.Linear(n_features, n_components)

    assert build_body(with_width, **OPTIONS).out_features == 3


def test_wrong_width_and_wrong_thing():
    with pytest.raises(ValueError, match=r"\(2, 12\) to \(2, 3\); got \(2, 4\)"):
        build_body(torch.nn.Linear(12, 4), **OPTIONS)
    with pytest.raises(TypeError, match=r"must return a torch.nn.Module .* got int"):
        build_body(lambda n_features: 3, **OPTIONS)
    frozen = torch.nn.Linear(12, 3).requires_grad_(False)
    with pytest.raises(ValueError, match="encoder must have weights to train"):
        build_body(frozen, **OPTIONS)


def test_component_scaler_orders_signs_and_switches():
    scaler = ComponentScaler(3)
    scaler.mean = torch.tensor([1.0, 2.0, 3.0])
    scaler.scale = torch.tensor([1.0, 10.0, 100.0])
    scaler.order = torch.tensor([2, 0, 1])
    scaler.sign = torch.tensor([-1.0, 1.0, 0.0])
    assert scaler(torch.tensor([[2.0, 3.0, 4.0]])).tolist() == [[-100.0, 1.0, 0.0]]


def test_seeded_restores_after_an_error():
    before = torch.random.get_rng_state()
    with pytest.raises(RuntimeError, match="boom"), seeded(3):
        torch.rand(1)
        raise RuntimeError("boom")
    assert torch.equal(before, torch.random.get_rng_state())


def fitted_encoder(body, n_components=4):
    """With scales, order and signs that all matter."""
    generator = torch.Generator().manual_seed(1)
    inputs = InputScaler(
        torch.randn(6, generator=generator).double(), 1 + torch.arange(6.0).double()
    )
    components = ComponentScaler(n_components)
    components.mean = torch.randn(n_components, generator=generator).double()
    components.scale = 0.5 + torch.rand(n_components, generator=generator).double()
    components.order = torch.tensor([2, 0, 3, 1])
    components.sign = torch.tensor([1.0, -1.0, 0.0, 1.0]).double()
    return Encoder(inputs, body.double(), components).eval()


class _Own(torch.nn.Module):
    """A class of the user's, whose copies are not what it is."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(6, 4)

    def __deepcopy__(self, memo):
        return _Own()

    def forward(self, rows):
        return self.layer(rows).tanh()


def _tied():
    layer, last = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)
    last.weight = layer.weight
    return torch.nn.Sequential(layer, last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "body",
    [
        torch.nn.Linear(6, 4),
        torch.nn.Sequential(
            torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4)
        ),
        torch.nn.Linear(6, 4, bias=False),
        torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh()),
        _Own(),
    ],
    ids=["linear", "mlp", "no bias", "no last linear layer", "own class"],
)
def test_a_cast_encoder_gives_the_same_codes(body, dtype):
    encoder = fitted_encoder(body)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    rows = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        expected = encoder(rows)
        codes = encoder.cast(torch.device("cpu"), dtype)(rows.to(dtype))
    assert codes.dtype == dtype
    torch.testing.assert_close(codes, expected.to(dtype), rtol=1e-5, atol=1e-5)
    # A component that is switched off is a plain zero.
    assert not codes[:, 2].any()
    assert not codes[:, 2].signbit().any()
    after = encoder.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_tied_layers_are_cast_as_they_are():
    encoder = fitted_encoder(_tied(), 6)
    encoder.components.order = torch.tensor([5, 4, 3, 2, 1, 0])
    encoder.components.sign = torch.tensor([1.0, -1.0, 0.0, 1.0, 1.0, -1.0]).double()
    rows = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        codes = encoder.cast(torch.device("cpu"), torch.float64)(rows)
        torch.testing.assert_close(codes, encoder(rows))


@pytest.mark.parametrize("body", [torch.nn.Linear(6, 4), _Own()], ids=["torch", "own"])
def test_threads_may_cast_one_encoder_at_once(body):
    encoder = fitted_encoder(body)
    rows = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))

    def codes(number):
        dtype = (torch.float32, torch.float64)[number % 2]
        with torch.no_grad():
            return encoder.cast(torch.device("cpu"), dtype)(rows.to(dtype))

    alone = [codes(0), codes(1)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(codes, range(40)))
    for number, found in enumerate(together):
        assert torch.equal(found, alone[number % 2])
