#!/usr/bin/env bash
# Everything that waits for a GPU, in under 8 minutes, on a machine with torch and triton and without network.
#   deploy/gpu_checklist.sh OUT.jsonl
# Nothing is installed: the kernels are found through a link, as `livemos.kernels`.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/tree/livemos
ln -sfn "$PWD/kernels" build/tree/livemos/kernels
export PYTHONPATH=$PWD/build/tree PYTHONUNBUFFERED=1 TRITON_DEFAULT_FP_FUSION=1
exec python3 -m livemos.kernels.benchmarks.gpu_checklist --out "${1:?give the JSONL to append to}" --seconds 440
