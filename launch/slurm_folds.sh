#!/bin/bash
# Trains the five folds of a cross-validation, each on the 4 GPUs of a node, two at a time.
#
#   sbatch launch/slurm_folds.sh
#
# Folds are dealt by split.seed, so that they fit together. Afterwards
# --mode=predict --checkpoint=runs/folds/fold0 --checkpoint=runs/folds/fold1 ... averages them.
#SBATCH --job-name=brainjax-folds
#SBATCH --array=0-4%2
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=8G
#SBATCH --time=24:00:00
#SBATCH --output=%x-%A-%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@300
set -uo pipefail

# See slurm.sh for signals and exit codes.
trap 'echo "asked to stop: waiting for the training to save"' TERM

# All folds read the same records; the first one there prepares them while the others wait.
srun --kill-on-bad-exit=1 python -m brainjax.main \
  --config=configs/cga.py:paper \
  --workdir="runs/folds/fold$SLURM_ARRAY_TASK_ID" \
  --config.split.fold="$SLURM_ARRAY_TASK_ID" \
  --config.data.records=runs/folds/records \
  --config.data.root=MICCAI_BraTS_2019_Data_Training
code=$?

if ((code == 143)); then
  scontrol requeue "$SLURM_JOB_ID" # this fold's, not the whole array's
fi
exit "$code"
