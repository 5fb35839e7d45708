"""Times and bytes worked out by hand from the links of the data sheets."""

import itertools

import numpy as np
import pytest

from jaxnets.plan.chips import machine
from jaxnets.plan.collectives import collectives, link_seconds

LINK = 50e9  # bytes per second of a v5e's link in one direction


def places(*ranges):
    return np.array(list(itertools.product(*ranges)))


@pytest.mark.parametrize(
    ("kind", "target", "group", "links", "share"),
    [
        ("all-gather", "v5e:4x4", places(range(4), range(4)), 2, 15 / 16),  # two lines: one link of each at the ends
        ("all-gather", "v5e:16x16", places(range(16), range(16)), 4, 255 / 256),  # two rings: both neighbors
        ("all-gather", "v5e:16x16", places([3], range(16)), 2, 15 / 16),
        ("all-gather", "v5e:16x16", places([3], range(4)), 1, 3 / 4),  # four of sixteen are a line
        ("reduce-scatter", "v5e:2x4", places(range(2), range(4)), 2, 7 / 8),
        ("all-reduce", "v5e:4x4", places(range(4), range(4)), 2, 2 * 15 / 16),
        ("collective-permute", "v5e:4x4", places([0], [0, 1]), 1, 1),
        ("all-to-all", "v5e:4x4", places(range(4), [0]), 4, 4),  # 2 chips send half of their bytes across the middle
    ],
)
def test_time_is_bytes_over_the_links_that_carry_them(kind, target, group, links, share):
    seconds = link_seconds(kind, 10**9, group, machine(target))
    assert seconds == pytest.approx(share * 1e9 / (links * LINK))


def test_pieces_of_one_operation_count_once_and_loops_by_their_turns():
    text = """HloModule m

%piece (p: bf16[8,4]) -> bf16[32,4] {
  ROOT %g = bf16[32,4]{1,0:T(8,128)(2,1)S(1)} all-gather(%p), channel_id=5, replica_groups=[1,4]<=[4], dimensions={0}
}

%body (p: bf16[8,4]) -> bf16[8,4] {
  %start = (bf16[8,4]{1,0}, u32[]{:S(2)}) fusion(%p), kind=kCustom, calls=%piece
  ROOT %done = bf16[8,4]{1,0} fusion(%p), kind=kCustom, calls=%piece
}

%condition (p: s32[]) -> pred[] {
  %c = s32[] constant(3)
}

ENTRY %main (p: bf16[8,4]) -> bf16[8,4] {
  %w = bf16[8,4]{1,0} while(%p), condition=%condition, body=%body
  %r = (f32[16]{0}, bf16[2,3]{1,0}) all-reduce(%a, %b), channel_id=6, replica_groups=mesh['x'=4] {'x'}
  %s = (f32[8]{0}, f32[8]{0}, u32[]) collective-permute-start(%c), channel_id=7, source_target_pairs={{0,1},{1,0}}
  ROOT %t = f32[4]{0} reduce-scatter(%c), channel_id=8, replica_groups={{0,1,2,3}}, dimensions={0}
}
"""
    found = {one.kind: one[1:3] for one in collectives(text, machine("v5e:2x2"), places(range(2), range(2)))}
    assert found == {
        "all-gather": (3, 3 * 32 * 4 * 2),
        "all-reduce": (1, 16 * 4 + 6 * 2),
        "collective-permute": (1, 8 * 4),
        "reduce-scatter": (1, 4 * 4 * 4),
    }
