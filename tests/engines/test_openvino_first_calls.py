"""First calls of several threads at once, which only a fresh process can make."""

from __future__ import annotations

import subprocess
import sys

N_PROCESSES = 6
TIMEOUT_S = 60

PROGRAM = """
import faulthandler, sys, threading
import numpy as np
from onnx import TensorProto, helper
from topwork.contracts import Graph
from topwork.engines.openvino import OpenVinoEngine

faulthandler.dump_traceback_later(20, exit=True)
sys.setswitchinterval(1e-6)
ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in ("input", "features")]
nodes = [helper.make_node("Identity", ["input"], ["features"])]
model = helper.make_model(
    helper.make_graph(nodes, "same", ends[:1], ends[1:]),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=9,
)
engine = OpenVinoEngine(Graph(model.SerializeToString(), {}, ("features",)), n_threads=2, n_streams=2)
start = threading.Barrier(8)

def call():
    start.wait()
    engine.run(np.ones((8, 4), dtype=np.float32))

threads = [threading.Thread(target=call) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("all answered")
"""


def test_first_calls_from_several_threads_do_not_wait_for_each_other() -> None:
    # One process in three hung before the engine made its first call alone; six of them leave 1 in 10 unseen.
    programs = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(N_PROCESSES)
    ]
    said = [program.communicate(timeout=TIMEOUT_S) for program in programs]
    assert [out.decode().strip() for out, _ in said] == ["all answered"] * N_PROCESSES, said
