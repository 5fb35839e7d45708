"""Programs of a few lines, whose executions can be counted by hand."""

from jaxnets.plan.program_text import cycles, executed, unknown_loops

PROGRAM = """HloModule m

%add (p: f32[2]) -> f32[2] {
  ROOT %s = f32[2]{0} add(%p, %p)
}

%body (p: f32[2]) -> f32[2] {
  %p = f32[2]{0} parameter(0)
  ROOT %a = f32[2]{0} fusion(%p), kind=kLoop, calls=%add, backend_config={"estimated_cycles":"10"}
}

%condition (p: s32[]) -> pred[] {
  %c = s32[]{:T(128)} constant(7)
  ROOT %lt = pred[] compare(%p, %c), direction=LT
}

%open_condition (p: f32[]) -> pred[] {
  ROOT %lt = pred[] compare(%p, %p), direction=LT
}

%cheap (p: f32[2]) -> f32[2] {
  ROOT %b = f32[2]{0} copy(%p), backend_config={"estimated_cycles":"1"}
}

%costly (p: f32[2]) -> f32[2] {
  ROOT %b = f32[2]{0} copy(%p), backend_config={"estimated_cycles":"100"}
}

%moves (p: f32[2]) -> f32[2] {
  ROOT %g = f32[4]{0} all-gather(%p), channel_id=1, replica_groups={{0,1}}, dimensions={0}
}

ENTRY %main (p: f32[2]) -> f32[2] {
  %w = f32[2]{0} while(%p), condition=%condition, body=%body
  %v = f32[2]{0} while(%p), condition=%open_condition, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %u = f32[2]{0} while(%p), condition=%open_condition, body=%body
  %i = f32[2]{0} conditional(%q, %p, %p), branch_computations={%cheap, %costly}
  %f = f32[2]{0} fusion(%p), kind=kCustom, calls=%moves, backend_config={"estimated_cycles":"1000"}
  ROOT %r = f32[2]{0} all-reduce(%p), replica_groups={{0,1}}, backend_config={"estimated_cycles":"5000"}
}
"""


def test_cycles_count_turns_of_loops_and_the_costliest_branch():
    assert cycles(PROGRAM) == 7 * 10 + 5 * 10 + 10 + 100 + 1000
    assert cycles(PROGRAM, "copy") == 100


def test_loops_without_a_known_number_of_turns_are_counted():
    assert unknown_loops(PROGRAM) == 1


def test_what_a_fusion_moves_is_found():
    assert [times for times, line in executed(PROGRAM) if " all-gather(" in line] == [1]
