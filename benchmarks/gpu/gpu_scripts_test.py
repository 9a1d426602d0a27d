# SPDX-License-Identifier: MIT
"""Tests compare_gpu.py and report_gpu.py without a GPU: stand-ins answer as the measured programs do.

    python3 gpu_scripts_test.py
"""
import json
import pathlib
import sys
import tempfile
import types
import unittest

import compare_gpu
import report_gpu

# Takes what gpu_benchmark and pytorch_gpu.py take; what it does beside is in its name: "slow", "broken", ...
STAND_IN = """#!{python}
import json, pathlib, sys
options = dict(zip(sys.argv[1:], sys.argv[2:]))
job, mode = options["--job"], options.get("--precision") or options.get("--mode")
def show(event, **more): print(json.dumps(dict(more, event=event)), flush=True)
if job == "weights":
    pathlib.Path(options["--out"]).write_text("weights")
    sys.exit()
print("a word that is no answer")
show("started", version="1")
factor = {{"bf16": 1, "fp16": 1.25, "eager": 4, "CUDA graph": 2}}.get(mode, 3)
for line in sys.stdin:
    if line.startswith("prepare"):
        if mode == "fp32": sys.exit("the card's memory is full")
        if mode == "tf32": import time; time.sleep(60)
        if job == "peak":
            show("prepared", card=dict(name="Card", memory_bytes=2**36, cuda="13.0", driver="13.0", cudnn="9.19.0"))
            continue
        found = dict(prepare_seconds=1, device_bytes=int(factor * 2**30))
        if job == "training": found["losses"] = [1, 0.9, 0.8 * (1 + factor / 1000)]
        if "--precision" in options:
            found["planned_bytes"] = 2**29
            found["work"] = dict(convolutions=[[4e9, 1e6], [1e9, 8e6]], optimizer_bytes=2e6)
        else: found["reserved_bytes"] = int(factor * 2**29)
        show("prepared", **found)
    elif line.startswith("measure"):
        if job == "peak": show("measured", operations=2e12, matrix_ms=[1, 2, 9], bytes=1e9, copy_ms=[1, 1, 1])
        else: show("measured", times_ms=[factor, factor, 99], whole_ms=[2 * factor])
    else: show("profiled", profile_ms={{"convolution, forward": 0.75, "the rest": 0.125}})
"""


class Scripts(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.program = self.folder / "program"
        self.program.write_text(STAND_IN.format(python=sys.executable))
        self.program.chmod(0o755)

    def args(self, **more):
        values = {"program": self.program, "out": self.folder / "compare.json", "compiled": None, "cache": self.folder,
                  "budget": 60, "rounds": 2, "seconds": 0, "jobs": [compare_gpu.job_of("training-512-16")],
                  "precisions": ["bf16", "fp16"], "all_precisions": False, "modes": ["eager", "CUDA graph"], "no_pytorch": False,
                  "pytorch_device": "cpu", "quick": False}  # fmt: skip
        return types.SimpleNamespace(**{**values, **more})

    def compare(self, **more):
        stand_in = lambda args, job, mode, files=(): compare_gpu.Candidate(  # noqa: E731
            compare_gpu.name_of(job), "PyTorch", mode, [self.program, *compare_gpu.options_of(job), "--mode", mode, *files])
        before = compare_gpu.start_pytorch, compare_gpu.pytorch_version, compare_gpu.say
        compare_gpu.start_pytorch, compare_gpu.pytorch_version = stand_in, lambda: ("2.11.0", "")
        compare_gpu.say = lambda text: None
        try:
            comparison = compare_gpu.Comparison(self.args(**more), self.folder)
            comparison.has_numpy = False
            comparison.run()
        finally:
            compare_gpu.start_pytorch, compare_gpu.pytorch_version, compare_gpu.say = before
            compare_gpu.Candidate.end_all()
        return json.loads((self.folder / "compare.json").read_text())

    def test_numbers(self):
        found = self.compare()
        self.assertEqual(found["problems"], [])
        self.assertEqual(found["peaks"]["bf16"], {"operations_per_second": 1e15, "bytes_per_second": 1e12})
        job = found["jobs"][0]
        candidates = {c["mode"]: c for c in job["candidates"]}
        self.assertEqual(candidates["fp16"]["milliseconds"], 1.25)
        self.assertEqual(candidates["eager"]["rounds_ms"], [4, 4])
        self.assertEqual(candidates["eager"]["images_per_second"], 4000)
        self.assertEqual(candidates["bf16"]["peak_bytes"], 2**30)
        self.assertEqual(candidates["CUDA graph"]["peak_bytes"], 2**30)
        floor = job["floors"]["bf16"]
        self.assertAlmostEqual(floor["operations_ms"], 0.005)
        self.assertAlmostEqual(floor["bytes_ms"], 0.011)
        self.assertAlmostEqual(floor["floor_ms"], 0.011)
        self.assertAlmostEqual(floor["one_by_one_ms"], 0.004 + 0.008 + 0.002)
        self.assertEqual(len(job["agreement"]), 3)

    def test_several_jobs(self):
        jobs = [compare_gpu.job_of(name) for name in ("training-512-16", "inference-512-1", "training-1024-8")]
        jobs[1] = jobs[1]._replace(kind="training")  # stand-ins write no probabilities
        found = self.compare(jobs=jobs, precisions=["bf16", "tf16"], rounds=3)
        self.assertEqual([(j["size"], j["batch"]) for j in found["jobs"]], [(512, 16), (512, 1), (1024, 8)])
        self.assertTrue(all(len(c["rounds_ms"]) == 3 for j in found["jobs"] for c in j["candidates"]))
        found = self.compare(jobs=jobs, budget=0)
        self.assertEqual(found["jobs"], [])
        self.assertEqual(len(found["problems"]), 3)

    def test_failures(self):
        compare_gpu.PREPARE_LIMIT, before = 1, compare_gpu.PREPARE_LIMIT
        try:
            found = self.compare(precisions=["bf16", "tf32", "fp32"])
        finally:
            compare_gpu.PREPARE_LIMIT = before
        failures = {c["mode"]: c["failure"] for c in found["jobs"][0]["candidates"] if "failure" in c}
        self.assertEqual(failures, {"tf32": "took more than 1 s to prepare", "fp32": "the card's memory is full"})
        self.assertEqual(len(found["problems"]), 4)  # the card's rates, too
        self.assertEqual(set(found["peaks"]), {"bf16"})

    def test_modes_not_compiled(self):
        compiled = self.folder / "compiled.json"
        compiled.write_text(json.dumps({"training-512-16, compiled, reduce-overhead": {"failure": "took too long"}}))
        found = self.compare(compiled=compiled, modes=compare_gpu.MODES)
        failures = {c["mode"]: c["failure"] for c in found["jobs"][0]["candidates"] if "failure" in c}
        self.assertEqual(failures, {"compiled, reduce-overhead": "took too long", "compiled, max-autotune": "not compiled"})
        self.assertEqual(found["problems"], [])

    def test_disagreement(self):
        compare_gpu.LARGEST_LOSS_DIFFERENCE, before = 1e-4, compare_gpu.LARGEST_LOSS_DIFFERENCE
        try:
            self.assertEqual(len(self.compare()["problems"]), 2)
        finally:
            compare_gpu.LARGEST_LOSS_DIFFERENCE = before

    def test_report(self):
        self.compare(precisions=["bf16", "fp32"])
        steps = [{"step": "build", "result": "passed", "seconds": 61.0, "limit": 240.0, "note": ""},
                 {"step": "memcheck", "result": "failed", "seconds": 2.0, "limit": 80.0, "note": "exit code 9"},
                 {"step": "train", "result": "passed", "seconds": 700.0, "limit": 1200.0, "note": ""}]  # fmt: skip
        (self.folder / "steps.jsonl").write_text("".join(json.dumps(s) + "\n" for s in steps))
        (self.folder / "train.log").write_text(
            "$ train_carvana --size 1024\nepoch 1/60\rvalidation\n           images    Dice     5 %\n"
            "1024x1024      64  0.9970  0.9960\n1918x1280      64  0.9956  0.9940\n")
        result = report_gpu.collect(self.folder)
        self.assertEqual(result["training"]["dice"], 0.9956)
        self.assertEqual(result["training"]["command"], "train_carvana --size 1024")
        text = report_gpu.markdown(result)
        self.assertIn("| memcheck | failed | 2 | 80 | exit code 9 |", text)
        self.assertIn("| training 512x512, batch 16 | 1.00 (bf16) | 16000 | 2.00 (CUDA graph) | **2.00** | 1.50 | 1.00 "
                      "| 0.011 | 90.9 |", text)  # fmt: skip
        self.assertIn("| segnet, fp32 | the card's memory is full |", text)
        self.assertIn("| convolution, forward | 0.750 |", text)
        self.assertIn("mean Dice 0.9956", text)
        for line in text.splitlines():
            if line.startswith("|"):
                self.assertTrue(line.endswith("|"), line)

    def test_report_of_nothing(self):
        (self.folder / "steps.jsonl").write_text("")
        self.assertIn("## Steps", report_gpu.markdown(report_gpu.collect(self.folder)))

    def test_number(self):
        self.assertEqual([report_gpu.number(v) for v in (None, 0.01234, 0.5, 1.5, 12.34, 123.4, 12345.6)],
                         ["", "0.012", "0.500", "1.50", "12.3", "123", "12346"])  # fmt: skip


if __name__ == "__main__":
    unittest.main()
