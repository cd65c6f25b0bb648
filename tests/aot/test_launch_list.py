"""Launch lists are read rightly; needs no plugin."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

LISTING = """\
001: kCopy         [source | next=002 (1)] kCopy
002: kWhile        [prev=001 (1) | next=019 (1)]
condition:
    003: kCustomKernel [source | sink] compare grid: [1, 1, 1] threads: [1, 1, 1]
  body:
    004: kDynamicSliceFusion [source | next=006 (1)] params=1, results=1
        005: kCopy [source | sink] kCopy
    006: kWhile              [prev=004 (1) | next=015 (1)]
condition:
        007: kCustomKernel [source | sink] compare_1 grid: [1, 1, 1] threads: [1, 1, 1]
      body:
        008: kCublasLtMatmul [source       | next=009 (1)] kCublasLtMatmul
        009: kCustomKernel   [prev=008 (1) | next=011 (1)] gemm_fusion_dot grid: [8, 1, 1]
        011: kAsyncStart     [prev=009 (1) | sink        ] stream=communication_stream[0]
            010: kAllGather [source | sink] kAllGather
        012: kMemzero        [source       | sink        ] kMemzero
        013: kAsyncDone      [source       | sink        ] async_id=11
    015: kCustomKernel       [prev=006 (1) | next=017 (1)] gemm_fusion_dot_1 grid: [8, 1, 1]
    017: kAllReduce          [prev=015 (1) | sink        ] kAllReduce
019: kCustomKernel [prev=002 (1) | sink] loop_add_fusion grid: [1, 1, 1] threads: [1, 1, 1]
"""

NAMES = {2: "while.1", 4: "slice.4", 6: "while.2", 7: "compare.10", 8: "custom-call.3",
         9: "gemm_fusion_dot.9", 10: "all-gather-start.5", 12: "memset.1",
         15: "gemm_fusion_dot.7", 17: "all-reduce.6", 19: "loop_add_fusion.8"}  # fmt: skip

# Lines as XLA writes them; attributes that are not read are left out.
HLO = """\
HloModule jit_step, is_scheduled=true

%split (p0: bf16[16,4,8], p1: bf16[4,8,32]) -> f32[4,16,32] {
  %p0 = bf16[16,4,8]{2,1,0} parameter(0)
  %p1 = bf16[4,8,32]{2,1,0} parameter(1)
  ROOT %dot.1 = f32[4,16,32]{2,1,0} dot(%p0, %p1), lhs_batch_dims={1}, lhs_contracting_dims={2}
}

%gradient (p2: bf16[64,32], p3: bf16[64,128]) -> f32[32,128] {
  %p2 = bf16[64,32]{1,0} parameter(0)
  %p3 = bf16[64,128]{1,0} parameter(1)
  ROOT %dot.2 = f32[32,128]{1,0} dot(%p2, %p3), lhs_contracting_dims={0}, rhs_contracting_dims={0}
}

%inner (t: (s32[], bf16[16,32])) -> (s32[], bf16[16,32]) {
  %t = (s32[], bf16[16,32]{1,0}) parameter(0)
  %h = bf16[16,32]{1,0} get-tuple-element(%t), index=1
  %custom-call.3 = (f32[16,128]{1,0}, s8[64]{0}) custom-call(%h, %w), \
custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":\
{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}
  %gemm_fusion_dot.9 = f32[4,16,32]{2,1,0} fusion(%h, %h), kind=kCustom, calls=%split
  %all-gather-start.5 = (bf16[16,32]{1,0}, bf16[16,64]{1,0}) all-gather-start(%h), \
replica_groups=mesh['axis_0'=1,'axis_1'=4,'axis_2'=2] {'axis_2'}, dimensions={1}
}

%outer (t: (s32[], bf16[16,32])) -> (s32[], bf16[16,32]) {
  %while.2 = (s32[], /*index=1*/bf16[16,32]{1,0}) while(%tuple), condition=%c2, body=%inner, \
metadata={op_name="jit(step)/transpose(jvp())/while/body/while"}, \
backend_config={"known_trip_count":{"n":"16"}}
  %slice.4 = bf16[16,32]{1,0} fusion(%t), kind=kCustom, calls=%nothing
  %gemm_fusion_dot.7 = f32[32,128]{1,0} fusion(%a, %b), kind=kCustom, calls=%gradient
  %all-reduce.6 = (f32[32,128]{1,0}, bf16[7]{0}) all-reduce(%g, %f), \
replica_groups=[2,4]<=[4,2]T(1,0)
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %while.1 = (s32[], bf16[16,32]{1,0}) while(%tuple), condition=%c1, body=%outer, \
metadata={op_name="jit(step)/transpose(jvp())/while"}, \
backend_config={"known_trip_count":{"n":"4"}}
  ROOT %loop_add_fusion.8 = f32[4]{0} fusion(%x), kind=kLoop, calls=%nothing
}
"""


@pytest.fixture(scope="module")
def h100():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("h100")


@pytest.fixture(scope="module")
def launch_list(h100):
    return importlib.import_module("launch_list")


@pytest.fixture(scope="module")
def found(launch_list):
    return launch_list.loops(LISTING, NAMES, HLO, model=2)


def report(h100, found, window, streams):
    return h100.Report("", found, h100.Memory(0, 0, 0, 0), window=window, streams=streams)


def test_each_launch_is_counted_in_the_loop_that_it_stands_in(found):
    assert [loop.role for loop in found] == ["outside loops", "backward chunks", "backward time"]
    assert [loop.trips for loop in found] == [1, 4, 16]
    assert [[kernel.family for kernel in loop.kernels] for loop in found] == [
        ["copy", "loop_add_fusion"],
        ["copy in slice", "gemm_fusion_dot", "all-reduce"],
        ["cublas lt matmul", "gemm_fusion_dot", "all-gather", "memzero"],
    ]


def test_products_are_found_in_fusions_and_in_calls_of_cublas(found):
    assert [[str(product) for product in loop.products] for loop in found] == [
        [],
        ["32 x 128 over 64"],
        ["16 x 128 over 32", "4 x 16 x 32 over 32"],
    ]


def test_a_collective_names_the_axes_of_the_mesh_that_it_goes_over(found):
    assert [[str(collective) for collective in loop.collectives] for loop in found] == [
        [],
        ["all-reduce over data: f32[32,128], bf16[7]"],
        ["all-gather over model: bf16[16,64]"],
    ]
    assert [c.sums_over_data for loop in found for c in loop.collectives] == [True, False]


@pytest.mark.parametrize(
    ("written", "devices"),
    [
        ("replica_groups={{0,2,4,6},{1,3,5,7}}, x", [0, 2, 4, 6]),
        ("replica_groups=[4,2]<=[8], x", [0, 1]),
        ("replica_groups=[2,4]<=[4,2]T(1,0), x", [0, 2, 4, 6]),
        ("replica_groups=mesh['a'=4,'b'=2] {'a'}, x", [0, 2, 4, 6]),
        ("source_target_pairs={{0,1},{1,0}}, x", [0, 1]),
    ],
)
def test_every_way_to_write_who_takes_part_is_understood(launch_list, written, devices):
    assert launch_list._first_group(written) == devices


def test_what_a_step_does_is_the_same_however_many_steps_an_iteration_holds(h100, found):
    def of_window(window):
        return report(h100, found, window, streams=64).step(backward=True)

    assert (of_window(64).kernels, of_window(64).products) == (4, 2)
    assert of_window(128).kernels == 2
    assert of_window(64).collectives == {"all-gather": 1}


def test_a_product_that_sums_over_the_streams_alone_is_a_weight_gradient(h100, found):
    """As the plain scan makes them: in each step."""
    assert report(h100, found, 64, streams=32).step(backward=True).weight_gradients > 0
    assert report(h100, found, 64, streams=64).step(backward=True).weight_gradients == 0


def test_what_is_exchanged_outside_the_loops_over_time_is_counted_in_bytes(h100, found):
    made = report(h100, found, 64, streams=64)
    (exchange,) = made.exchanges
    assert exchange.times == 4
    assert exchange.bytes == made.summed_over_data == 4 * (32 * 128 * 4 + 7 * 2)


def test_a_loop_whose_end_the_device_decides_costs_its_condition_too(h100):
    endless = HLO.replace('"known_trip_count":{"n":"16"}', "")
    inner = h100.loops(LISTING, NAMES, endless, model=2)[-1]
    assert [kernel.family for kernel in inner.kernels][:2] == ["compare", "copy of condition"]
    with pytest.raises(ValueError, match=r"while\.1 / while\.2 has no fixed number of trips"):
        _ = report(h100, h100.loops(LISTING, NAMES, endless, model=2), 64, streams=32).launches
