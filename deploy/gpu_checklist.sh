#!/usr/bin/env bash
# Everything that waits for a GPU, in under 8 minutes, on a machine with torch and triton and without network.
#   deploy/gpu_checklist.sh OUT.jsonl [BUNDLE]
# Nothing is installed: the rooms are found through links, as `livemos.kernels` and `livemos.agent`. The engines need
# what the agent needs, and onnx; where something is missing a line says so, and the kernels' rows are there.
set -uo pipefail
out=$(realpath -m "${1:?give the JSONL to append to}")
bundle=${2:+$(realpath "$2")}
cd "$(dirname "$0")/.."
bundle=${bundle:-agent/data/default.livemos}
mkdir -p build/tree/livemos
ln -sfn "$PWD/kernels" build/tree/livemos/kernels
ln -sfn "$PWD/agent" build/tree/livemos/agent
export PYTHONPATH=$PWD/build/tree PYTHONUNBUFFERED=1 TRITON_DEFAULT_FP_FUSION=1
python3 -m livemos.kernels.benchmarks.gpu_checklist --out "$out" --seconds 250
kernels=$?
[ "$kernels" = 2 ] && exit 2
timeout 130 python3 deploy/gpu_engines.py --out "$out" --bundle "$bundle" --seconds 100
engines=$?
case $engines in
    0 | 1) ;;
    124) echo '{"step": "engines", "ok": false, "error": "ran past 130 s"}' >>"$out" ;;
    *) echo "{\"step\": \"engines\", \"ok\": false, \"error\": \"exit status $engines; its output says why\"}" >>"$out" ;;
esac
[ "$kernels" = 0 ] && [ "$engines" = 0 ]
