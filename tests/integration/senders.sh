#!/bin/sh
# Installs the independent senders and the sound server that tests marked `senders` need (Debian 12 and newer).
set -eu
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -q
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
    pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins
