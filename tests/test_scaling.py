"""What ``benchmarks.scaling`` reads from compiled programs."""

from __future__ import annotations

from benchmarks._scaling_devices import all_reduce_bytes, count_moves

PROGRAM = """
  %all-reduce.1 = f32[4,3]{1,0} all-reduce(%a), channel_id=1, to_apply=%add
  %all-reduce.2 = (f32[], bf16[8]{0}, /*index=2*/pred[2]{0}) all-reduce(%b, %c, %d), to_apply=%add
  %start = f8e4m3fn[10]{0} all-reduce-start(%e), to_apply=%add
  %done = f8e4m3fn[10]{0} all-reduce-done(%start)
  %gte = f32[] get-tuple-element(%all-reduce.2), index=0
  %gathered = f32[6]{0} all-gather(%f), dimensions={0}
  %passed = f32[6]{0} collective-permute-start(%f)
"""


def test_bytes_of_all_reduces_and_other_collectives_are_counted() -> None:
    assert all_reduce_bytes(PROGRAM) == 4 * 12 + (4 + 2 * 8 + 2) + 10
    assert count_moves(PROGRAM) == 2
    assert all_reduce_bytes("") == count_moves("") == 0
