"""What a program costs, against programs whose costs are known."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from benchmarks.costs import costs, over_links

# As a TPU's compiler writes it: loops that only their condition counts, products as convolutions,
# sums of which a part is kept as fusions, gathers in parts that share a chain.
TPU = """\
HloModule f, is_scheduled=true

%region_1 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %s = f32[]{:T(128)} add(%a, %b)
}

%all-reduce-scatter.1 (input: bf16[64,32]) -> bf16[8,32] {
  %input = bf16[64,32]{1,0:T(8,128)(2,1)} parameter(0)
  %all-reduce.1 = bf16[64,32]{1,0:T(8,128)(2,1)} all-reduce(%input), channel_id=1, to_apply=%region_1
  %zero = s32[]{:T(128)} constant(0)
  ROOT %part = bf16[8,32]{1,0:T(8,128)(2,1)} dynamic-slice(%all-reduce.1, %zero, %zero), dynamic_slice_sizes={8,32}
}

%sliced (stack: bf16[5,8,32], i: s32[]) -> bf16[1,8,32] {
  %stack = bf16[5,8,32]{2,1,0:T(8,128)(2,1)} parameter(0)
  %i = s32[]{:T(128)} parameter(1)
  %none = s32[]{:T(128)} constant(0)
  ROOT %one = bf16[1,8,32]{2,1,0:T(8,128)(2,1)} dynamic-slice(%stack, %i, %none, %none), dynamic_slice_sizes={1,8,32}
}

%begun (p.2: bf16[1,8,32]) -> bf16[1,64,32] {
  %p.2 = bf16[1,8,32]{2,1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.1 = bf16[1,64,32]{2,1,0:T(8,128)(2,1)} all-gather(%p.2), channel_id=2, dimensions={1}, frontend_attributes={chain_id="0"}
}

%ended (p.3: bf16[1,8,32]) -> bf16[1,64,32] {
  %p.3 = bf16[1,8,32]{2,1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.2 = bf16[1,64,32]{2,1,0:T(8,128)(2,1)S(1)} all-gather(%p.3), channel_id=2, dimensions={1}, frontend_attributes={chain_id="0"}
}

%body (p: (s32[], bf16[5,8,32], bf16[16,64])) -> (s32[], bf16[5,8,32], bf16[16,64]) {
  %p = (s32[]{:T(128)}, bf16[5,8,32]{2,1,0:T(8,128)(2,1)}, bf16[16,64]{1,0:T(8,128)(2,1)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%p), index=0
  %stack.1 = bf16[5,8,32]{2,1,0:T(8,128)(2,1)} get-tuple-element(%p), index=1
  %x = bf16[16,64]{1,0:T(8,128)(2,1)} get-tuple-element(%p), index=2
  %w = bf16[1,8,32]{2,1,0:T(8,128)(2,1)} fusion(%stack.1, %i.1), kind=kLoop, calls=%sliced
  %g = bf16[1,64,32]{2,1,0:T(8,128)(2,1)} fusion(%w), kind=kCustom, calls=%begun
  %h = bf16[1,64,32]{2,1,0:T(8,128)(2,1)S(1)} fusion(%w), kind=kCustom, calls=%ended
  %w2 = bf16[64,32]{1,0:T(8,128)(2,1)S(1)} bitcast(%h)
  %y = f32[16,32]{1,0:T(8,128)S(1)} convolution(%x, %w2), dim_labels=bf_io->bf
  %dw = bf16[64,32]{1,0:T(8,128)(2,1)S(1)} bitcast(%h)
  %part.1 = bf16[8,32]{1,0:T(8,128)(2,1)S(1)} fusion(%dw), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %t = (s32[]{:T(128)}, bf16[5,8,32]{2,1,0:T(8,128)(2,1)}, bf16[16,64]{1,0:T(8,128)(2,1)}) tuple(%i.1, %stack.1, %x)
}

%condition (p.1: (s32[], bf16[5,8,32], bf16[16,64])) -> pred[] {
  %five = s32[]{:T(128)} constant(5)
  %p.1 = (s32[]{:T(128)}, bf16[5,8,32]{2,1,0:T(8,128)(2,1)}, bf16[16,64]{1,0:T(8,128)(2,1)}) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%j, %five), direction=LT
}

ENTRY %main (a.1: (s32[], bf16[5,8,32], bf16[16,64])) -> (s32[], bf16[5,8,32], bf16[16,64]) {
  %a.1 = (s32[]{:T(128)}, bf16[5,8,32]{2,1,0:T(8,128)(2,1)}, bf16[16,64]{1,0:T(8,128)(2,1)}) parameter(0)
  ROOT %loop = (s32[]{:T(128)}, bf16[5,8,32]{2,1,0:T(8,128)(2,1)}, bf16[16,64]{1,0:T(8,128)(2,1)}) while(%a.1), condition=%condition, body=%body
}
"""  # noqa: E501


def test_a_loop_of_a_tpu():
    found = costs(TPU)
    assert found.flops == 5 * 2 * 16 * 64 * 32
    whole = 5 * 2 * 64 * 32
    assert found.bytes == found.looped == {"all-gather": whole, "reduce-scatter": whole}
    assert found.runs == {"all-gather": 5, "reduce-scatter": 5}
    one, gathered, x = 2 * 8 * 32, 2 * 64 * 32, 2 * 16 * 64
    # The slice, read and written, and its number; what both parts of the gather read, and the one
    # that is not in fast memory; x; two numbers and an answer of the condition.
    assert found.memory == 5 * (2 * one + 4 + one + gathered + one + x + 2 * 4 + 1)


@pytest.mark.parametrize("settings", [
    {"window_strides": (2, 1), "padding": ((1, 0), (2, 2))},
    {"window_strides": (1, 1), "padding": ((0, 0), (0, 1)), "lhs_dilation": (2, 3),
     "rhs_dilation": (1, 2)},
])  # fmt: skip
def test_multiplications_of_a_convolution_are_counted_one_by_one(settings):
    """As the convolution of ones says, whose every output is how many it adds."""
    x, w = jnp.ones((2, 5, 6, 3)), jnp.ones((3, 2, 3, 4))
    dimensions = lax.conv_dimension_numbers(x.shape, w.shape, ("NHWC", "HWIO", "NHWC"))
    y = lax.conv_general_dilated(x, w, dimension_numbers=dimensions, **settings)
    given = {
        "size": w.shape[:2], "stride": settings["window_strides"],
        "pad": [f"{low}_{high}" for low, high in settings["padding"]],
        "lhs_dilate": settings.get("lhs_dilation", (1, 1)),
        "rhs_dilate": settings.get("rhs_dilation", (1, 1)),
    }  # fmt: skip
    window = " ".join(f"{name}={'x'.join(map(str, sizes))}" for name, sizes in given.items())
    text = (
        "ENTRY %m (x: f32[2,5,6,3], w: f32[3,2,3,4]) -> f32[] {\n"
        "  %x = f32[2,5,6,3]{3,2,1,0} parameter(0)\n  %w = f32[3,2,3,4]{3,2,1,0} parameter(1)\n"
        f"  ROOT %y = f32[{','.join(map(str, y.shape))}]{{3,2,1,0}} convolution(%x, %w), "
        f"window={{{window}}}, dim_labels=b01f_01io->b01f\n}}"
    )
    assert costs(text).flops == 2 * int(y.sum())


def test_a_slice_of_a_stack_costs_the_slice():
    def f(stack):
        return lax.scan(lambda x, w: (jnp.tanh(x + w), None), stack[0], stack)[0]

    program = jax.jit(f).lower(jax.ShapeDtypeStruct((50, 1000), jnp.float32)).compile()
    found = costs(str(program.as_text()))
    assert found.flops == 0
    assert 50 * 2 * 4000 <= found.memory <= 50 * 6 * 4000


def test_what_passes_links():
    assert over_links("reduce-scatter", 800, 8) == 700
    assert over_links("all-reduce", 800, 8) == 1400
    assert over_links("collective-permute", 800, 8) == 800
