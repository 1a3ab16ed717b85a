#!/usr/bin/env bash
# Builds the images that compose.yaml names and that nobody publishes: the one of masters and workers, from the package as it is
# installed for PYTHON (default: python3), and HDFS's. `make images` calls it with what it needs beside Docker.
#
#   images.sh WHEELS HADOOP_JARS    directories with the package's wheel and those it needs, and with HDFS's jars
set -euo pipefail
wheels=$(realpath "$1") jars=$(realpath "$2")
cd "$(dirname "$0")"

# Docker takes one directory: the files, the wheels and the jars come together in a temporary one.
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir "$context/mapreduce"
cp -r Dockerfile "$context/mapreduce"
cp -r "$wheels" "$context/mapreduce/wheels"
cp -r hdfs "$context"
cp -r "$jars" "$context/hdfs/jars"

read -r python image < <("${PYTHON:-python3}" -c '
import sys
from mapreduce.cluster._containers import image
print("%d.%d" % sys.version_info[:2], image())')
docker build --quiet --build-arg PYTHON="$python" --tag "$image" "$context/mapreduce"
docker build --quiet --tag mapreduce-hdfs:2.7.3 "$context/hdfs"
