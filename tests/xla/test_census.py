"""Counts of compiled programs, against programs that are counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from jnn.xla.census import census, memory

TEXT = """\
HloModule f, is_scheduled=true

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[], f32[8]{0}) parameter(0)
  %x = f32[8]{0} get-tuple-element(%p), index=1
  %y = f32[8]{0} add(%x, %x)
  %i = s32[] get-tuple-element(%p), index=0
  ROOT %t = (s32[], f32[8]{0}) tuple(%i, %y)
}

%cond (p.1: (s32[], f32[8])) -> pred[] {
  %p.1 = (s32[], f32[8]{0}) parameter(0)
  ROOT %c = pred[] constant(false)
}

ENTRY %main (a: (s32[], f32[8])) -> bf16[8] {
  %a = (s32[], f32[8]{0}) parameter(0)
  %w = (s32[], f32[8]{0}) while(%a), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %g = f32[8]{0} get-tuple-element(%w), index=1
  %r = f32[64]{0} all-gather(%g), dimensions={0}
  %k = (f32[64]{0}, u8[0]{0}) custom-call(%r), custom_call_target="__cublas$gemm"
  %h = f32[64]{0} get-tuple-element(%k), index=0
  ROOT %z = bf16[8]{0} scatter(%g, %g, %h), to_apply=%cond
}
"""  # noqa: E501


def test_a_loop_counts_as_often_as_it_turns():
    counts = census(TEXT)
    assert counts.kernels == 5 + 3  # The sum in the loop; the gather, the call, the scatter.
    added, gathered = 5 * 3 * 32, 32 + 256
    called, scattered = 256 + 256, 16 + 32 + 32 + 256
    assert counts.traffic == added + gathered + called + scattered
    assert counts.calls == {"__cublas$gemm": 1}
    assert counts.collectives == {"all-gather": 256}
    assert (counts.operations["scatter"], counts.operations["while"]) == (1, 1)


def test_a_program_of_this_machine():
    program = jax.jit(lambda x, n: x.at[n].add(1.0)).lower(jnp.ones(8), jnp.array([1, 1])).compile()
    counts = census(program.as_text() or "")
    assert counts.operations["scatter"] + counts.operations["while"] >= 1
    assert counts.traffic >= 2 * 8 * 4
    sizes = memory(program)
    assert (sizes["arguments"], sizes["outputs"]) == (8 * 4 + 2 * 4, 8 * 4)


def test_types_of_fewer_than_eight_bits_and_flags():
    text = "ENTRY %m (a: s4[3]) -> pred[7] {\n  %a = s4[3]{0} parameter(0)\n  ROOT %b = pred[7]{0} f(%a)\n}"  # noqa: E501
    assert census(text).traffic == 7 + 2


@pytest.mark.parametrize("name", ["f8e4m3fn", "bf16", "u32", "c64"])
def test_every_width(name):
    bits = {"f8e4m3fn": 8, "bf16": 16, "u32": 32, "c64": 64}[name]
    text = f"ENTRY %m (a: s32[]) -> {name}[4] {{\n  ROOT %b = {name}[4]{{0}} f()\n}}"
    assert census(text).traffic == 4 * bits // 8


PARTS = """\
HloModule f, is_scheduled=true

%fused (p: f32[64,8], q: f32[8], i: s32[]) -> f32[64,8] {
  %p = f32[64,8]{1,0} parameter(0)
  %q = f32[8]{0} parameter(1)
  %r = f32[1,8]{1,0} bitcast(%q)
  %i = s32[] parameter(2)
  ROOT %u = f32[64,8]{1,0} dynamic-update-slice(%p, %r, %i, %i)
}

%picked (p.1: bf16[64,8], i.1: s32[]) -> f32[8] {
  %p.1 = bf16[64,8]{1,0} parameter(0)
  %i.1 = s32[] parameter(1)
  %c.1 = f32[64,8]{1,0} convert(%p.1)
  %s.1 = f32[1,8]{1,0} dynamic-slice(%c.1, %i.1, %i.1), dynamic_slice_sizes={1,8}
  ROOT %b.1 = f32[8]{0} bitcast(%s.1)
}

%below (n: s32[]) -> pred[] {
  %n = s32[] parameter(0)
  %most = s32[]{:T(128)} constant(7)
  ROOT %lt = pred[] compare(%n, %most), direction=LT
}

%next (n.1: s32[]) -> s32[] {
  %n.1 = s32[] parameter(0)
  ROOT %more = s32[] add(%n.1, %n.1)
}

ENTRY %main (a: f32[64,8], h: bf16[64,8], i.2: s32[]) -> f32[64,8] {
  %a = f32[64,8]{1,0} parameter(0)
  %h = bf16[64,8]{1,0} parameter(1)
  %i.2 = s32[] parameter(2)
  %w = s32[] while(%i.2), condition=%below, body=%next
  %row = f32[8]{0} fusion(%h, %w), kind=kLoop, calls=%picked
  %near = (f32[8]{0:T(256)S(1)}, f32[8]{0}, u32[]) copy-start(%row)
  %here = f32[8]{0:T(256)S(1)} copy-done(%near)
  ROOT %out = f32[64,8]{1,0} fusion(%a, %here, %i.2), kind=kLoop, calls=%fused
}
"""


def test_of_what_is_sliced_or_updated_in_place_the_part_counts():
    counts = census(PARTS)
    looped = 7 * (4 + 4 + 1 + 3 * 4)  # Up to where the condition compares, where nobody says it.
    assert counts.kernels == 7 * 2 + 3
    picked = 16 + 4 + 32  # A row in half precision, where it lies, a row in single.
    copied = 32 + 4  # To fast memory: what is read, and the copy's own mark.
    updated = 4 + 32  # The row is in fast memory; of the result no more than the row is written.
    assert counts.traffic == looped + picked + copied + updated
