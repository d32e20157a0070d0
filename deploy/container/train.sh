#!/bin/sh
# Fill the bundle volume once: data, training, export. Each verb writes its folder whole or not at all, so that a
# container that was stopped half-way goes on from the last whole one. Remove the volumes to begin anew.
set -eu
data=${1:-/data}
bundles=${2:-/bundles}

for manifest in "$bundles"/*/manifest.json; do
    if [ -e "$manifest" ]; then
        echo "there is a bundle already: ${manifest%/manifest.json}"
        exit 0
    fi
done
[ -e "$data/movielens-100k" ] || cascada data movielens-100k --out "$data/movielens-100k"
[ -e "$data/run" ] || cascada train "$data/movielens-100k" --out "$data/run"
cascada export "$data/run" --out "$bundles"
