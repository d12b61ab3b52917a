#!/bin/sh
# Installs bridges, phones and Wireshark's tools (Debian 12), runs the tests that need them, and compares what livemos
# said with what tshark says. About three minutes.   bridges.sh [DOCUMENT]: also rewrites the table in docs/interop.md
set -eu
cd "$(dirname "$0")/../.."
sh tests/integration/senders.sh
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    janus rtpengine-daemon baresip-core sip-tester tshark gstreamer1.0-libav python3-aiortc
python=${PYTHON:-.venv/bin/python}
mkdir -p build
LIVEMOS_REQUIRE_SENDERS=1 LIVEMOS_REQUIRE_BRIDGES=1 \
    "$python" -m pytest -p no:randomly --basetemp=build/interop tests/integration/test_bridges.py
"$python" tests/integration/compare_tshark.py build/interop "$@"
