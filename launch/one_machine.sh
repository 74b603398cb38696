#!/usr/bin/env bash
# Trains on GPUs of this machine; one process drives them all.
#
#   launch/one_machine.sh 4                                    # the first four
#   launch/one_machine.sh 2 --config=configs/cga.py:paper --workdir=runs/paper --config.data.root=DIR
#
# Ctrl-C and SIGTERM save first; the same line again goes on. batches.batch_size has to divide by
# the number of GPUs.
set -euo pipefail

gpus=${1:?how many GPUs? for example: launch/one_machine.sh 4}
shift
if (($# == 0)); then
  set -- --config=configs/cga.py:paper --workdir=runs/paper \
    --config.data.root=MICCAI_BraTS_2019_Data_Training --config.data.prepare_workers=8
fi

# CUDA_VISIBLE_DEVICES that is set already says which ones to take the first of.
visible=${CUDA_VISIBLE_DEVICES:-$(seq --separator=, 0 $((gpus - 1)))}
CUDA_VISIBLE_DEVICES=$(cut --delimiter=, --fields="1-$gpus" <<<"$visible")
export CUDA_VISIBLE_DEVICES

# exec: signals reach the training itself, and its exit code is this script's.
exec python -m brainjax.main "$@"
