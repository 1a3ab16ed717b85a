#!/usr/bin/env bash
# Stands in for the public images that deploy/docker names, where no registry can be reached: Debian, by debootstrap, under
# their names. Images that are there already are left alone. Needs root and debootstrap.
set -euo pipefail
cd "$(dirname "$0")"

python=python:3.11-slim-bookworm java=eclipse-temurin:17-jre zookeeper=zookeeper:3.8
there() { [ -n "$(docker image ls --quiet "$1")" ]; }
there $python && there $java && there $zookeeper && exit

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=python3,python3-pip,openjdk-17-jre-headless,zookeeper,procps
debootstrap --variant=minbase --include=$packages bookworm "$work/root" >"$work/log" || { tail "$work/log"; exit 1; }
# As the public image has it: `python` is here, and pip may install for everybody.
ln -s /usr/bin/python3 "$work/root/usr/local/bin/python"
rm -f "$work"/root/usr/lib/python3*/EXTERNALLY-MANAGED
rm -rf "$work"/root/var/cache/apt "$work"/root/var/lib/apt/lists
base=$(tar --create --directory "$work/root" . | docker import -)
there $python || docker tag "$base" $python
there $java || docker tag "$base" $java
there $zookeeper || docker build --quiet --build-arg BASE="$base" --tag $zookeeper zookeeper
